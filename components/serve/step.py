"""`darkroom serve MODEL`: answer over HTTP. This process keeps the workers alive and brings them newer models."""

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le

from components.shared.errors import CannotRun


def serve(
    model: Annotated[str, "models:/NAME@champion, models:/NAME/3, runs:/ID, s3://..., or a folder that `package` wrote"],
    *,
    host: Annotated[str, "address to listen on; 0.0.0.0 for all"] = "127.0.0.1",
    port: Annotated[int, "0: any that is free", Ge(0), Le(65535)] = 8080,
    workers: Annotated[int, "processes; 0: as many as there are processors", Ge(0), Le(256)] = 0,
    sha256: Annotated[str, "digest of the package (of its package.json); another one is refused"] = "",
    public_key: Annotated[Path | None, "of whoever must have signed the model; what is not signed is refused"] = None,
    follow: Annotated[float, "look for a newer model every so many seconds; 0: never", Ge(0)] = 0.0,
    max_megabytes: Annotated[float, "of a request's body", Gt(0), Le(1000)] = 10.0,
    max_megapixels: Annotated[float, "of a picture", Gt(0), Le(500)] = 25.0,
    queue: Annotated[int, "samples that wait in a worker; more are told to come again", Ge(1)] = 256,
    deadline: Annotated[float, "seconds for a body to come, and for its answer", Gt(0)] = 10.0,
) -> None:
    """Answer over HTTP: pictures as they are, the Open Inference Protocol v2 (KServe), MLflow's /invocations; a page at /.

    SIGTERM: not ready at once, then what was accepted is answered. DARKROOM_WEBHOOK_SECRET lets MLflow's webhooks POST /reload.
    """
    from components.serve.parent import Source, run
    from components.serve.place import Options, Place
    from components.shared import parallel, scratch

    if sha256 and follow:
        raise CannotRun("serve: --sha256 holds to one package, --follow takes others; give one of them")
    with scratch.folder("serve") as folder:
        place = Place(folder)
        source = Source(model, place, digest=sha256, public_key=public_key)
        source.take()
        options, workers = Options(max_megabytes, max_megapixels, queue, deadline), workers or parallel.processors()
        run(source, place, options, host=host, port=port, workers=workers, follow=follow)
