"""Darkroom's steps as a Kubeflow pipeline. The only place that imports kfp; compiling it needs no TensorFlow."""
