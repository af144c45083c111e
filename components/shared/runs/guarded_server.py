"""MLflow's server as a team runs it: experiments keep their artifacts where the server keeps all of them, and nowhere else.

`mlflow server --app-name darkroom`. Stock MLflow lets whoever reaches it create an experiment whose artifacts lie in any folder
of the server (`artifact_location=file:///etc`), and write there.
"""

PLACE = "mlflow-artifacts:/"  # below the server's own --artifacts-destination


def create_app():
    """MLflow's ASGI application, which refuses (400) experiments that are to lie elsewhere. uvicorn calls this."""
    from mlflow.server import app
    from mlflow.server.fastapi_app import create_fastapi_app

    app.before_request(_refuse_other_places)
    return create_fastapi_app(app)


def _refuse_other_places():
    from flask import jsonify, request

    if not request.path.rstrip("/").endswith("/experiments/create"):
        return None
    asked = request.get_json(force=True, silent=True)
    places = [asked.get(name) for name in ("artifact_location", "artifactLocation")] if isinstance(asked, dict) else []
    if all(not place or (str(place).startswith(PLACE) and ".." not in str(place)) for place in places):
        return None
    message = f"artifact_location: expected none, or {PLACE}..., since this server keeps all artifacts in one place"
    return jsonify(error_code="INVALID_PARAMETER_VALUE", message=message), 400
