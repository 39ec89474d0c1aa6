"""ONNX files as networks: `load(path)`; float, or quantized with their own scales. Needs the extra `onnx`."""

from carrysave.onnx_import.file import MissingExtra, OnnxError
from carrysave.onnx_import.importer import load
from carrysave.onnx_import.network import Input, OnnxNetwork

__all__ = ["Input", "MissingExtra", "OnnxError", "OnnxNetwork", "load"]
