"""What passes through a model's layers: ranges and fine histograms of values, free of any format.

A histogram of a layer's input counts each value as often as the layer multiplies it: a pixel under nine positions of a
3x3 kernel counts nine times, one that a stride skips not at all, and padding is counted apart. So what `operands` gives
are the operands that really enter the layer's multipliers.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from carrysave.engines.problem import codes_of, patterns_of
from carrysave.formats import Format
from carrysave.functional import Handler, Tracker
from carrysave.histograms import Histogram
from carrysave.layers import sides
from carrysave.paths import write_atomically
from carrysave.quantizers import Given, Quantizer, quantizer_of_sample, quantizer_of_weights
from carrysave.recipes import Arithmetic
from carrysave.running import ModelError, run

VERSION = 2
OTHER_LAYERS = (  # they multiply, and cannot be emulated
    nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Bilinear, nn.RNNBase,
    nn.RNNCellBase,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Operands:
    """How often each operand enters a layer's multipliers, by bit pattern.

    Attributes:
        activation: float64 [2^a_bits] of the multiplier.
        weight: float64 [2^b_bits].
    """

    activation: np.ndarray
    weight: np.ndarray


@dataclass(eq=False)
class LayerRecord:
    """One layer, or one functional product, as calibration saw it.

    Attributes:
        kind: "Conv2d", "Linear", "matmul", "linear", "conv2d", or what cannot be emulated, such as "einsum" or "LSTM".
        module: True for a layer that is a module, False for a functional call.
        calls: how often it ran.
        macs: multiply-accumulates over all samples, those with padding included.
        padded: of these, those with padding.
        input, second: histograms; `second` is a matmul's second operand.
        weight: the weights themselves, float32 [O, ...]; None in a matmul.
        input_shape, output_shape: of the last call.
        geometry: stride, padding, dilation, groups of a convolution, and its kernel.
        given: the scales that the model states itself (a module's attribute `given`), which are then used.
    """

    name: str
    kind: str
    module: bool
    calls: int = 0
    macs: int = 0
    padded: int = 0
    input: Histogram | None = None
    second: Histogram | None = None
    weight: np.ndarray | None = None
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    geometry: dict[str, Any] = field(default_factory=dict)
    given: Given | None = None


class Calibration:
    """Per layer: ranges, histograms, counts. Made by `calibrate`, kept in an .npz file.

    Attributes:
        records: by layer name, in the order in which the model first ran them.
        samples: how many samples passed through the model.
    """

    def __init__(self, records: dict[str, LayerRecord], samples: int):
        self.records, self.samples = records, samples

    @property
    def layers(self) -> list[str]:
        """Names of the layers and functional products that can be emulated, in order."""
        return [name for name, record in self.records.items() if record.input is not None]

    @property
    def others(self) -> dict[str, str]:
        """Layers and functions that multiply and cannot be emulated, each with its kind, in order."""
        return {name: record.kind for name, record in self.records.items() if record.input is None}

    @property
    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per sample of each layer."""
        return {name: round(self.records[name].macs / self.samples) for name in self.layers}

    def __getitem__(self, layer: str) -> LayerRecord:
        if layer not in self.records:
            raise KeyError(f"layer {layer!r} was not seen during calibration; seen: {', '.join(self.layers) or 'none'}")
        return self.records[layer]

    def arithmetic(self, layer: str, wanted: Arithmetic) -> Arithmetic:
        """`wanted`, with the formats of those codes that the model states itself for this layer.

        Raises:
            ValueError: if the stated codes do not fit the multiplier.
        """
        given = self[layer].given
        try:
            return wanted if given is None else given.arithmetic(wanted)
        except ValueError as error:
            raise ValueError(f"layer {layer!r}: the model brings its own codes; {error}") from None

    def quantizers(self, layer: str, arithmetic: Arithmetic) -> tuple[Quantizer, Quantizer]:
        """The layer's activation and weight quantizers under `arithmetic`; scales that the model states are kept."""
        record = self[layer]
        if record.input is None:
            raise ValueError(f"layer {layer!r}: a {record.kind} has no operands that can be emulated")
        given, arithmetic = record.given or Given(), self.arithmetic(layer, arithmetic)
        _, for_activation, for_weight = arithmetic.parts
        if given.activation is not None:
            activation = given.activation.quantizer(for_activation)
        else:
            activation = quantizer_of_sample(record.input.sample(), *_of(arithmetic, "activation"))
        if given.weight is not None:
            return activation, given.weight.quantizer(for_weight)
        if record.second is not None:
            return activation, quantizer_of_sample(record.second.sample(), *_of(arithmetic, "weight"))
        assert record.weight is not None
        weights = torch.from_numpy(record.weight)
        return activation, quantizer_of_weights(weights, *_of(arithmetic, "weight"), arithmetic.weight_scales)

    def operands(self, layer: str, arithmetic: Arithmetic) -> Operands:
        """How often each bit pattern enters the layer's multipliers, padding included; each side sums to its MACs."""
        record = self[layer]
        activation, weight = self.quantizers(layer, arithmetic)
        multiplier, _, _ = arithmetic.parts
        assert record.input is not None
        left = _code_histogram(record.input, activation)
        if record.kind in ("Conv2d", "conv2d"):
            left[int(activation.zero) - activation.format.low] += record.padded / _uses(record)
        if record.second is not None:
            right = _code_histogram(record.second, weight)
        else:
            codes = weight.codes(torch.from_numpy(record.weight))
            right = np.bincount((codes - weight.format.low).reshape(-1).numpy(), minlength=len(codes_of(weight.format)))
        return Operands(
            _by_pattern(
                left, patterns_of(multiplier, activation.format, multiplier.a_bits), multiplier.a_bits, record.macs
            ),
            _by_pattern(
                right, patterns_of(multiplier, weight.format, multiplier.b_bits), multiplier.b_bits, record.macs
            ),
        )

    def operands_of_all(self, arithmetic: Arithmetic) -> Operands:
        """All layers together, each by its multiply-accumulates."""
        parts = [self.operands(name, arithmetic) for name in self.layers]
        if not parts:
            raise ValueError("calibration saw no layer that can be emulated")
        return Operands(sum(p.activation for p in parts), sum(p.weight for p in parts))  # type: ignore[arg-type]

    def save(self, path: str | Path) -> None:
        """To an .npz file, whole or not at all."""
        arrays: dict[str, np.ndarray] = {}
        layers = []
        for i, record in enumerate(self.records.values()):
            plain = {k: v for k, v in record.__dict__.items() if k not in ("input", "second", "weight", "given")}
            if record.given is not None:
                plain["given"] = asdict(record.given)
            for role in ("input", "second"):
                histogram: Histogram | None = getattr(record, role)
                if histogram is not None:
                    arrays[f"{i}.{role}"] = histogram.counts
                    plain[role] = {k: v for k, v in asdict(histogram).items() if k != "counts"}
            if record.weight is not None:
                arrays[f"{i}.weight"] = record.weight
            layers.append(plain)
        meta = json.dumps({"version": VERSION, "samples": self.samples, "layers": layers})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, meta=np.array(meta), **arrays)  # type: ignore[arg-type]
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """From `save`'s file. Raises ValueError if it is not one or is damaged, FileNotFoundError if it is absent."""
        try:
            with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            meta = json.loads(str(arrays["meta"]))
            if meta["version"] != VERSION:
                raise ValueError(f"it has version {meta['version']}, this carrysave reads {VERSION}")
            records = [_record(plain, i, arrays) for i, plain in enumerate(meta["layers"])]
            return cls({record.name: record for record in records}, int(meta["samples"]))
        except FileNotFoundError:
            raise
        except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: not a calibration file, or damaged ({error}); run calibrate again") from error


def calibrate(model: nn.Module, data: Any, samples: int = 512, seed: int = 0) -> Calibration:
    """Runs `samples` samples through the model (in eval mode, without gradients) and records every layer's operands.

    Args:
        data: a carrysave Dataset (a seeded random subset is drawn), a tensor [N, ...] (likewise), or an iterable of
            batches, each a tensor or a tuple that starts with one (the first samples are taken).

    Raises:
        ValueError: for a NaN or an infinity in weights or activations, naming the layer; for a model that fails on the
            data; for no data.
    """
    if samples < 1:
        raise ValueError(f"calibrate: samples={samples}; at least 1 is needed")
    recorder = _Recorder(model)
    was_training = {module: module.training for module in model.modules()}
    handles = [*recorder.tracker.attach(model), *recorder.hook_layers(model)]
    first = next(model.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    seen = 0
    try:
        model.eval()
        with torch.no_grad():
            for batch in _batches(data, samples, seed):
                run(model, batch.to(device), "calibrate")
                seen += len(batch)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in was_training.items():
            module.training = training
    if not seen:
        raise ValueError("calibrate: the data gave no samples")
    recorder.note_given(model)
    return Calibration(recorder.records, seen)


class _Recorder(Handler):
    def __init__(self, model: nn.Module):
        self.records: dict[str, LayerRecord] = {}
        self.tracker = Tracker(self)

    def hook_layers(self, model: nn.Module) -> list[Any]:
        handles = []
        names: dict[nn.Module, str] = {}
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module not in names:
                names[module] = name
                handles.append(module.register_forward_hook(_LayerHook(self, name), with_kwargs=True))
            elif isinstance(module, OTHER_LAYERS):
                handles.append(module.register_forward_hook(_OtherHook(self, name)))
        return handles

    def matmul(self, name: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        result = torch.matmul(x, w)
        record = self._record(name, "matmul", False, x, result)
        record.input = _added(record.input, _histogram(name, x, "an activation"))
        record.second = _added(record.second, _histogram(name, w, "the second operand"))
        record.macs += result.numel() * x.shape[-1]
        return result

    def linear(self, name: str, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        result = F.linear(x, weight, bias)
        self.saw_linear(name, "linear", False, x, weight, bias, result)
        return result

    def conv2d(
        self, name: str, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, **how: Any
    ) -> torch.Tensor:
        result = F.conv2d(x, weight, bias, **how)
        layer = _as_module(weight, **how)
        self.saw_conv(name, "conv2d", False, x, weight, bias, result, layer)
        return result

    def note_given(self, model: nn.Module) -> None:
        """Scales that modules state of themselves, for their own record and for the calls in them."""
        for name, module in model.named_modules():
            given = getattr(module, "given", None)
            for record in self.records.values() if isinstance(given, Given) else ():
                if record.name == name or (not record.module and record.name.rpartition(".")[0] == name):
                    record.given = given

    def other(self, name: str, kind: str, module: bool = False) -> None:
        self.records.setdefault(name, LayerRecord(name, kind, module)).calls += 1

    def saw_linear(
        self, name: str, kind: str, module: bool, x: torch.Tensor, weight: torch.Tensor, bias: Any, result: torch.Tensor
    ) -> None:
        record = self._weighted(name, kind, module, x, weight, bias, result)
        record.input = _added(record.input, _histogram(name, x, "an activation"))
        record.macs += x.numel() * weight.shape[0]

    def saw_conv(
        self, name: str, kind: str, module: bool, x: torch.Tensor, weight: torch.Tensor, bias: Any,
        result: torch.Tensor, layer: nn.Conv2d,
    ) -> None:  # fmt: skip
        record = self._weighted(name, kind, module, x, weight, bias, result)
        x = x[None] if x.ndim == 3 else x
        border = sides(layer.padding, layer.kernel_size, layer.dilation)
        if layer.padding_mode != "zeros":
            x = F.pad(x, (border[1], border[3], border[0], border[2]), mode=layer.padding_mode)
            border = (0, 0, 0, 0)
        outputs = result.shape[-2:]
        rows, columns = (
            _positions(x.shape[2 + d], layer.kernel_size[d], layer.stride[d], layer.dilation[d], border[d], outputs[d])
            for d in (0, 1)
        )
        uses = np.multiply.outer(rows, columns)
        record.input = _added(record.input, _histogram(name, x, "an activation", uses))
        macs = result.numel() * weight[0].numel()
        record.macs += macs
        record.padded += macs - int(uses.sum()) * x.shape[0] * x.shape[1] * (weight.shape[0] // layer.groups)
        record.geometry = {
            "kernel": list(layer.kernel_size), "stride": list(layer.stride), "dilation": list(layer.dilation),
            "padding": layer.padding if isinstance(layer.padding, str) else list(layer.padding),
            "padding_mode": layer.padding_mode, "groups": layer.groups,
        }  # fmt: skip

    def _weighted(
        self, name: str, kind: str, module: bool, x: torch.Tensor, weight: torch.Tensor, bias: Any, result: torch.Tensor
    ) -> LayerRecord:
        record = self._record(name, kind, module, x, result)
        for what, tensor in (("a weight", weight), ("a bias", bias)):
            if tensor is not None:
                check_finite(name, tensor, what)
        record.weight = weight.detach().to("cpu", torch.float32).numpy().copy()
        return record

    def _record(self, name: str, kind: str, module: bool, x: torch.Tensor, result: torch.Tensor) -> LayerRecord:
        record = self.records.setdefault(name, LayerRecord(name, kind, module))
        record.calls += 1
        record.input_shape, record.output_shape = tuple(x.shape), tuple(result.shape)
        return record


class _LayerHook:
    def __init__(self, recorder: _Recorder, name: str):
        self.recorder, self.name = recorder, name

    def __call__(
        self, layer: nn.Module, args: tuple[torch.Tensor, ...], named: dict[str, torch.Tensor], result: torch.Tensor
    ) -> None:
        x = args[0] if args else named["input"]
        if isinstance(layer, nn.Conv2d):
            self.recorder.saw_conv(self.name, "Conv2d", True, x, layer.weight, layer.bias, result, layer)
        elif isinstance(layer, nn.Linear):
            self.recorder.saw_linear(self.name, "Linear", True, x, layer.weight, layer.bias, result)


class _OtherHook:
    def __init__(self, recorder: _Recorder, name: str):
        self.recorder, self.name = recorder, name

    def __call__(self, layer: nn.Module, args: Any, result: Any) -> None:
        self.recorder.other(self.name, type(layer).__name__, True)


def check_finite(layer: str, x: torch.Tensor, what: str) -> None:
    """Raises ValueError, naming the layer, if a value is NaN or infinite."""
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise ModelError(
            f"layer {layer!r}: {what} is NaN or infinite ({bad} of {x.numel()} values); calibration needs"
            " finite values, so check the model's weights and the data's preparation"
        )


def _histogram(layer: str, x: torch.Tensor, what: str, weights: np.ndarray | None = None) -> Histogram | None:
    check_finite(layer, x, what)
    return Histogram.of(x.detach().to("cpu", torch.float64).numpy(), weights) if x.numel() else None


def _added(old: Histogram | None, new: Histogram | None) -> Histogram | None:
    return old.merge(new) if old is not None and new is not None else (new if old is None else old)


def _positions(size: int, kernel: int, stride: int, dilation: int, pad: int, outputs: int) -> np.ndarray:
    """How many outputs use each input position along one dimension."""
    places = (np.arange(outputs)[:, None] * stride + np.arange(kernel) * dilation - pad).reshape(-1)
    return np.bincount(places[(places >= 0) & (places < size)], minlength=size).astype(np.float64)


def _as_module(weight: torch.Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> nn.Conv2d:
    """The settings of an F.conv2d call in the form of a module (without its parameters)."""
    outputs, depth, kh, kw = weight.shape
    return nn.Conv2d(depth * groups, outputs, (kh, kw), stride, padding, dilation, groups, device="meta")


def _uses(record: LayerRecord) -> int:
    """In how many output channels each input value of a convolution takes part."""
    assert record.weight is not None
    return record.weight.shape[0] // record.geometry["groups"]


def _of(arithmetic: Arithmetic, role: str) -> tuple[Format, Any]:
    return getattr(arithmetic, role), arithmetic.ranges


def _code_histogram(histogram: Histogram, quantizer: Quantizer) -> np.ndarray:
    fmt = quantizer.format
    if fmt.bits > 20:
        raise ValueError(f"operands: {fmt.spec} has too many codes for a histogram; it takes formats of up to 20 bits")
    values, counts = histogram.points(float(quantizer.scale))
    codes = fmt.encode(values, float(quantizer.scale), int(quantizer.zero))
    return np.bincount(codes - fmt.low, counts, minlength=fmt.high - fmt.low + 1)


def _by_pattern(counts: np.ndarray, patterns: np.ndarray, bits: int, total: float) -> np.ndarray:
    if bits > 20:
        raise ValueError(
            f"operands: histograms over 2^{bits} bit patterns are too long; use a multiplier of up to 20 bits"
        )
    spread = np.bincount(patterns, counts, minlength=1 << bits)
    return spread * (total / spread.sum())


def _batches(data: Any, samples: int, seed: int) -> Iterator[torch.Tensor]:
    if isinstance(data, torch.Tensor):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:samples]
        yield from data[order.sort().values].split(256)
        return
    batches: Iterable[Any] = data.subset(min(samples, len(data)), seed) if hasattr(data, "subset") else data
    left = samples
    for batch in batches:
        images = batch[0] if isinstance(batch, tuple | list) else batch
        if not isinstance(images, torch.Tensor):
            raise ValueError(
                f"calibrate: batches are tensors or tuples that start with one, not {type(images).__name__}"
            )
        yield images[:left]
        left -= min(left, len(images))
        if left == 0:
            return


def _record(plain: dict[str, Any], index: int, arrays: dict[str, np.ndarray]) -> LayerRecord:
    for role in ("input", "second"):
        if role in plain:
            plain[role] = Histogram(counts=arrays[f"{index}.{role}"], **plain[role])
    for shape in ("input_shape", "output_shape"):
        plain[shape] = tuple(plain[shape])
    if "given" in plain:
        plain["given"] = Given.of(plain["given"])
    return LayerRecord(weight=arrays.get(f"{index}.weight"), **plain)

