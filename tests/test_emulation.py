"""emulate(): recipes, what is replaced and left, functional products, and errors that name the layer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import carrysave as cs
from carrysave.recipes import Arithmetic, Recipe, Rule


class Attention(nn.Module):
    """One head, in all the ways in which models write matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(6, 6)
        self.mix = nn.Parameter(torch.randn(6, 6))
        self.kernel = nn.Parameter(torch.randn(1, 1, 2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.query(x)
        scores = torch.softmax(q @ x.transpose(1, 2), -1)
        y = torch.bmm(scores, x)
        y = F.scaled_dot_product_attention(y, q, x, is_causal=True)
        y = F.linear(y, self.mix)
        return F.conv2d(y[:, None], self.kernel, padding="same")


NAMES = ["query", "matmul0", "matmul1", "matmul2", "matmul3", "linear0", "conv2d0"]


def _attention() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(Attention(), nn.Flatten()).eval(), torch.randn(3, 5, 6)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")  # torch's own layer
def test_functional_products_are_caught_and_named() -> None:
    model, x = _attention()
    calibration = cs.calibrate(model, x)
    assert calibration.layers == [f"0.{name}" for name in NAMES]
    assert calibration.macs == {
        "0.query": 5 * 6 * 6, "0.matmul0": 5 * 6 * 5, "0.matmul1": 5 * 5 * 6, "0.matmul2": 5 * 6 * 5,
        "0.matmul3": 5 * 5 * 6, "0.linear0": 5 * 6 * 6, "0.conv2d0": 5 * 6 * 6,
    }  # fmt: skip
    emulated = cs.emulate(model, calibration)
    assert [r.name for r in emulated.replaced] == calibration.layers and emulated.left == []
    exact, expected = emulated(x), model(x)
    assert torch.allclose(exact, expected, atol=0.05 * float(expected.detach().abs().max()))
    assert not torch.equal(exact, expected)
    fine = cs.emulate(model, calibration, multiplier="exact:n=12,signed=true")(x)
    assert float((fine - expected).detach().abs().max()) < 0.2 * float((exact - expected).detach().abs().max())


def test_every_functional_product_goes_through_the_multiplier() -> None:
    model, x = _attention()
    calibration = cs.calibrate(model, x)
    whole = cs.emulate(model, calibration)(x)
    for name in calibration.layers:
        arithmetic = Arithmetic(multiplier="truncated:c=11")
        one = cs.emulate(model, calibration, Recipe([Rule(name, arithmetic), Rule("*", Arithmetic())]))
        assert not torch.equal(one(x), whole), name
        float_one = cs.emulate(model, calibration, Recipe([Rule(name, None), Rule("*", Arithmetic())]))
        assert [left.name for left in float_one.left] == [name]
        assert float_one.left[0].why == f"rule {name!r} leaves it float"


def test_a_matmul_of_emulated_operands_by_hand() -> None:
    class Product(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ torch.tensor([3.0, 1.0, 2.0])

    x = torch.tensor([[3.0, 0.0, 3.0]])
    two_bits = Arithmetic("affine:bits=2", "affine:bits=2", "kulkarni:n=2")
    emulated = cs.emulate(Product(), cs.calibrate(Product(), x), Recipe([Rule("matmul", two_bits)]))
    assert emulated(x).tolist() == [7 + 0 + 6]  # scales 1, zeros 0; 3 * 3 = 7
    assert emulated.replaced[0].kind == "matmul"


def test_reflected_matmul_and_broadcasting() -> None:
    class Product(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.matmul(x[:, None], x[None].mT)

    x = torch.rand(2, 3, 4)
    emulated = cs.emulate(Product(), cs.calibrate(Product(), x))
    assert emulated(x).shape == (2, 2, 3, 3)
    assert torch.allclose(emulated(x), Product()(x), atol=0.03)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("masked", [False, True])
def test_multihead_attention_is_taken_apart(need_weights: bool, masked: bool) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            causal = nn.Transformer.generate_square_subsequent_mask(4) if masked else None
            y, weights = self.attention(x, x, x, need_weights=need_weights, attn_mask=causal)
            return y if weights is None else y + weights.sum()

    torch.manual_seed(0)
    model = Model().eval()
    x = torch.randn(2, 4, 8)
    calibration = cs.calibrate(model, x)
    assert len(calibration.layers) == 6
    emulated = cs.emulate(model, calibration, multiplier="exact:n=12,signed=true")
    assert torch.allclose(emulated(x), model(x), atol=0.02)
    (left,) = emulated.left
    assert left.name == "attention.out_proj" and "that call is listed by itself" in left.why


def test_recipes_first_match_wins_and_nothing_is_skipped_silently() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.ConvTranspose2d(2, 2, 2), nn.Conv2d(2, 2, 2), nn.Flatten(),
        nn.Linear(32, 4),
    ).eval()  # fmt: skip
    calibration = cs.calibrate(model, torch.rand(2, 1, 6, 6))
    kulkarni = Arithmetic(multiplier="kulkarni")
    recipe = Recipe([Rule("0", None), Rule("Conv2d", kulkarni), Rule("*", Arithmetic())])
    emulated = cs.emulate(model, calibration, recipe)
    assert {r.name: r.arithmetic.multiplier.spec for r in emulated.replaced} == {"4": "kulkarni", "6": "exact"}
    assert {left.name: left.why for left in emulated.left} == {
        "0": "rule '0' leaves it float",
        "1": "BatchNorm2d has no array of multipliers; it stays float",
        "3": "a ConvTranspose2d cannot be emulated; write it with Conv2d, Linear or matrix products",
    }
    assert type(model[4]) is nn.Conv2d  # the model itself is untouched
    only = cs.emulate(model, calibration, Recipe([Rule("6", kulkarni)]))
    assert [left.why for left in only.left] == ["no rule matches"] * 4


def test_errors_name_the_layer_and_the_remedy() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ConvTranspose1d(1, 1, 1))

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.unused = model[:2], nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.einsum("ij->i", self.net(x))

    half = Half().eval()
    calibration = cs.calibrate(half, torch.rand(3, 4))
    arithmetic = Arithmetic()
    for pattern, text in [
        ("net.1", r"layer 'net.1' \(BatchNorm1d\): rule 'net.1' names it, but BatchNorm1d has no array of multipliers"),
        ("unused", r"layer 'unused' \(Linear\): rule 'unused' names it, but it did not run during calibration"),
        (
            "einsum0",
            "layer 'einsum0': rule 'einsum0' names it, but einsum cannot be emulated; write it with torch.matmul",
        ),
        ("nett.0", "no layer is called 'nett.0', by name or by class; layers: net.0"),
    ]:
        with pytest.raises(ValueError, match=text):
            cs.emulate(half, calibration, Recipe([Rule(pattern, arithmetic)]))
    emulated = cs.emulate(half, calibration)
    assert {left.name for left in emulated.left} == {"net.1", "unused", "einsum0"}
    with pytest.raises(ValueError, match="give a recipe or a multiplier, not both"):
        cs.emulate(half, calibration, Recipe([]), multiplier="exact")
    with pytest.raises(ValueError, match=r"unknown engine 'factord' \(did you mean 'factored'\?\)"):
        cs.emulate(half, calibration, engine="factord")
    with pytest.raises(ValueError, match="layer 'net.0': engine 'exact' cannot serve this"):
        cs.emulate(half, calibration, multiplier="kulkarni", engine="exact")
    with pytest.raises(ValueError, match="use signed=true, or the format sign_magnitude:bits=8, or affine"):
        Arithmetic("affine", "fixed", "kulkarni")
    with pytest.raises(ValueError, match="weight_scales='row'; it is 'tensor' or 'channel'"):
        Arithmetic(weight_scales="row")  # type: ignore[arg-type]


def test_signed_multipliers_get_fixed_point_by_themselves() -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    x = torch.randn(8, 6)
    for spec in ("mitchell_w:w=8,n=12", "exact:signed=true", "drum:k=6,n=10,signed=true"):
        emulated = cs.emulate(model, cs.calibrate(model, x), multiplier=spec)
        assert emulated.replaced[0].arithmetic.weight.spec.startswith("fixed")
        assert torch.allclose(emulated(x), model(x), atol=0.35), spec


def test_a_layer_used_twice_is_one_layer() -> None:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    x = torch.rand(3, 4)
    emulated = cs.emulate(model, cs.calibrate(model, x))
    assert emulated[0] is emulated[2] and [r.name for r in emulated.replaced] == ["0"]
    assert torch.allclose(emulated(x), model(x), atol=0.05)
