"""Every multiplier against an independent integer model, and against the published or pinned facts of its table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import carrysave as cs
import integer_models as models
from carrysave.errors import error_map, measure
from carrysave.multipliers import MULTIPLIERS, catalog
from carrysave.planes import PlaneWord
from carrysave.registry import SpecError
from carrysave.tables import multiply, operand_values, table

MODELS: dict[str, Any] = {name: getattr(models, name) for name in MULTIPLIERS.names() if hasattr(models, name)}
MODELS["compressed"] = models.heam
ALL_PAIRS = (
    "exact exact:tree=array exact:tree=wallace,adder=ripple exact:adder=brent_kung exact:adder=kogge_stone"
    " exact:form=baugh_wooley,signed=true exact:form=baugh_wooley,signed=true,tree=array,adder=ripple"
    " exact:form=booth,signed=true exact:form=booth,signed=true,tree=array,adder=ripple kulkarni"
    " kulkarni:depth=3 kulkarni:depth=-1 or_compressed recovery:c=0 recovery:c=6 recovery:c=7 recovery:c=15"
    " planar:level=1 planar:level=3 planar:level=7 venkatachalam truncated:c=0 truncated:c=6 truncated:c=8"
    " truncated:c=14 compressed:heam mitchell mitchell_w:w=2 mitchell_w:w=6 mitchell_w:w=8"
    " roba tosam:h=0,t=0 tosam:h=2,t=5 tosam:h=3,t=7 iterative_log:iterations=1 iterative_log:iterations=2"
    " iterative_log:iterations=8 iterative_log:iterations=2,t=3 iterative_log:iterations=2,t=0"
    " hybrid_radix:r=6 hybrid_radix:r=8 drum:k=1 drum:k=4 drum:k=5 drum:k=6 drum:k=7 drum:k=8"
).split()
OWN_SIGN = ("mitchell_w", "hybrid_radix", "exact:form=")
OTHER_WIDTHS = (
    "exact:n={n} exact:tree=array,n={n} exact:tree=wallace,n={n} exact:form=baugh_wooley,signed=true,n={n}"
    " exact:form=booth,signed=true,n={n} exact:form=booth,signed=true,tree=wallace,n={n} kulkarni:n={n}"
    " kulkarni:n={n},depth=2 or_compressed:n={n} recovery:n={n},c=3 planar:n={n},level=1 planar:n={n},level=3"
    " truncated:n={n},c=5 roba:n={n} tosam:n={n},h=1,t=3 iterative_log:n={n},iterations=2"
    " iterative_log:n={n},iterations=3,t=2 hybrid_radix:n={n},r=6 mitchell:n={n} mitchell_w:n={n},w=4"
    " drum:n={n},k=3 drum:n={n},k=4"
).split()


def expected_product(m: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The integer model on operand values; by sign and magnitude where the circuit has no sign of its own."""
    names = ("depth", "c", "level", "w", "k", "h", "t", "iterations", "r")
    parameters = {name: getattr(m, name) for name in names if getattr(m, name, None) is not None}
    model = MODELS[type(m).name]
    if not m.signed or m.own_sign:
        return model(x, y, m.n, **parameters)
    sign = np.where((x < 0) ^ (y < 0), -1, 1)
    return sign * model(abs(x), abs(y), m.n, **parameters)


def wide_operands(n: int, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs, all pairs of corners, and pairs of small numbers, as Python integers."""
    rng = np.random.default_rng(n)
    low = -(1 << (n - 1)) if signed else 0
    high = low + (1 << n)
    corners = (low, low + 1, -2, -1, 0, 1, 2, 3, high // 2 - 1, high // 2, high - 2, high - 1)
    corners = [v for v in corners if low <= v < high]
    drawn = rng.integers(low, high, (400, 2)).tolist()
    scaled = [[x >> int(s), y >> int(t)] for (x, y), (s, t) in zip(drawn, rng.integers(0, n, (400, 2)), strict=True)]
    pairs = np.array(drawn + scaled + [[x, y] for x in corners for y in corners], dtype=object)
    return pairs[:, 0], pairs[:, 1]


def test_every_family_has_a_model_or_a_test_of_its_own() -> None:
    assert set(MULTIPLIERS.names()) == set(MODELS) | {"momeni", "table"}
    assert {spec.partition(":")[0] for spec in ALL_PAIRS} == set(MODELS)


@pytest.mark.parametrize("spec", ALL_PAIRS)
def test_all_8_bit_pairs(spec: str) -> None:
    m = cs.multiplier(spec)
    values = operand_values(8, m.signed)
    x, y = np.repeat(values, 256), np.tile(values, 256)
    assert (table(m).reshape(-1) == expected_product(m, x, y)).all()


@pytest.mark.parametrize("spec", [s for s in ALL_PAIRS if not s.startswith(OWN_SIGN)])
def test_signed_by_sign_and_magnitude(spec: str) -> None:
    m = cs.multiplier(spec + (",signed=true" if ":" in spec else ":signed=true"))
    values = operand_values(8, True)
    x, y = np.repeat(values, 256), np.tile(values, 256)
    expected = (expected_product(m, x, y) + (1 << 15)) % (1 << 16) - (1 << 15)  # 16 bits; planar's |-128|^2 fits too
    assert m.signed and (table(m).reshape(-1) == expected).all()


@pytest.mark.parametrize("n", [4, 6, 16, 32])
@pytest.mark.parametrize("spec", OTHER_WIDTHS)
def test_other_widths(spec: str, n: int) -> None:
    if spec.startswith("recovery") and n == 6:
        pytest.skip("recovery adds its rows pairwise: n is a power of two")
    if spec.startswith("hybrid_radix") and n == 4:
        pytest.skip("a digit of hybrid_radix has six bits at least")
    for signed in (False, True):
        if spec.startswith(OWN_SIGN) and not signed:
            continue
        m = cs.multiplier(spec.format(n=n) + (",signed=true" if signed and "signed" not in spec else ""))
        x, y = wide_operands(n, signed)
        expected = expected_product(m, x, y)
        kind = np.int64 if signed else np.uint64
        found = multiply(m, x.astype(kind), y.astype(kind))
        assert [int(v) for v in found] == [int(v) for v in expected]


@pytest.mark.parametrize("n", range(2, 13))
def test_every_width_that_is_allowed_multiplies(n: int) -> None:
    """A family either says why it has no such width, or agrees with its model there."""
    for template in OTHER_WIDTHS:
        try:
            m = cs.multiplier(template.format(n=n))
        except SpecError as error:
            assert "n=" in str(error)
            continue
        x, y = wide_operands(n, m.signed)
        found = multiply(m, x.astype(np.int64), y.astype(np.int64))
        assert [int(v) for v in found] == [int(v) for v in expected_product(m, x, y)], m.spec


def exact_rank(matrix: np.ndarray) -> int:
    """Rank modulo a prime, by elimination: a lower bound of the rank over the rationals, and equal with high chance."""
    prime = 2_147_483_629
    rows, rank = matrix.astype(np.int64) % prime, 0
    for column in range(rows.shape[1]):
        pivots = np.flatnonzero(rows[rank:, column])
        if not pivots.size:
            continue
        rows[[rank, rank + pivots[0]]] = rows[[rank + pivots[0], rank]]
        rows[rank] = rows[rank] * pow(int(rows[rank, column]), -1, prime) % prime
        below = np.flatnonzero(rows[rank + 1 :, column]) + rank + 1
        rows[below] = (rows[below] - rows[below, column][:, None] * rows[rank][None, :] % prime) % prime
        rank += 1
        if rank == len(rows):
            break
    return rank


# spec: (mean absolute error, largest, mean error or None, rank of the error table, symmetric, 0 times anything is 0)
FACTS: dict[str, tuple[float, int, float | None, int, bool, bool]] = {
    "exact": (0, 0, 0, 0, True, True),
    "exact:tree=wallace": (0, 0, 0, 0, True, True),
    "kulkarni": (903.125, 14450, -903.125, 1, True, True),
    "kulkarni:depth=3": (39.125, 626, -39.125, 4, True, True),
    "or_compressed": (229.375, 3670, None, 4, False, True),
    "recovery:c=6": (297.390625, 7328, None, 246, False, True),
    "recovery:c=7": (194.28125, 7072, None, 238, False, True),
    "planar:level=1": (948.138671875, 4096, None, 65, True, False),
    "planar:level=3": (63.15478515625, 256, None, 17, True, False),
    "venkatachalam": (1743.7255, 18498, -1517.4512, 229, True, True),
    "truncated:c=6": (80.25, 321, -80.25, 6, True, True),
    "truncated:c=8": (448.25, 1793, -448.25, 8, True, True),
    "compressed:heam": (136.8936, 785, -44.25, 4, False, True),
}
TABLE_RANKS = {"drum:k=4": 1, "drum:k=7": 1, "kulkarni": 2, "or_compressed": 5, "compressed:heam": 5, "exact": 1}


@pytest.mark.parametrize("spec", FACTS)
def test_pinned_facts(spec: str) -> None:
    absolute, largest, mean, rank, symmetric, zero = FACTS[spec]
    m = cs.multiplier(spec)
    errors, products = error_map(m), table(m)
    assert abs(errors).mean() == pytest.approx(absolute, abs=5e-5)
    assert abs(errors).max() == largest
    assert mean is None or errors.mean() == pytest.approx(mean, abs=5e-5)
    assert exact_rank(errors) == rank
    assert (products == products.T).all() == symmetric
    assert (not products[0].any() and not products[:, 0].any()) == zero


@pytest.mark.parametrize("spec", TABLE_RANKS)
def test_ranks_of_tables(spec: str) -> None:
    assert exact_rank(table(cs.multiplier(spec))) == TABLE_RANKS[spec]


def test_truncation_by_columns_has_rank_eight_at_most() -> None:
    assert max(exact_rank(table(cs.multiplier(f"truncated:c={c}"))) for c in range(15)) == 8


@pytest.mark.parametrize("n", [16, 32])
def test_published_relative_errors(n: int) -> None:
    """-3.85 % and at worst -11.11 % (Mitchell 1962); about -5.9 % for w = 6 (Kim 2019)."""
    mitchell = measure(cs.multiplier(f"mitchell:n={n}"), samples=300_000)
    assert mitchell.mean_relative_error == pytest.approx(-0.0385, abs=2e-4)
    assert 0.1110 < mitchell.worst_relative <= 1 / 9
    short = measure(cs.multiplier(f"mitchell_w:n={n},w=6"), samples=300_000)
    assert short.mean_relative_error == pytest.approx(-0.059, abs=2e-4)


def test_published_worst_cases_of_iterated_logarithms() -> None:
    """-25 % after one block, -6.25 % after two (Babic 2011); exact after as many as there are bits."""
    for iterations, worst in ((1, 0.25), (2, 0.0625)):
        found = measure(cs.multiplier(f"iterative_log:iterations={iterations},n=10"))
        assert 0.97 * worst < found.worst_relative < worst and found.mean_error == -found.mean_absolute_error
    assert measure(cs.multiplier("iterative_log:iterations=8")).error_rate == 0


def test_mitchell_w_of_special_operands() -> None:
    """-1 has magnitude 0, but is not zero: log 0 and 2^0 * 1."""
    m = cs.multiplier("mitchell_w:w=6")
    assert m.signed and multiply(m, np.array([0, -1, -1, 1, -2, -1]), np.array([-1, 0, -1, -1, -1, 64])).tolist() == [
        0, 0, 1, -2, 1, -65,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("mitchell_w:w=9", "mitchell_w: w=9 keeps 8 fraction bits, but n=8 has only 7; use w <= 8"),
        ("mitchell_w:w=1", "w=1 keeps no fraction bit; use w >= 2"),
        ("mitchell_w:w=6,signed=false", "it is a signed multiplier by definition"),
        ("mitchell_w", "w must be given, such as mitchell_w:w=6"),
        ("drum:k=9", "drum: k=9; it keeps 1 to n=8 bits"),
        ("drum:k=0", "drum: k=0"),
        ("drum:m=6", "no parameter 'm'"),
        ("truncated:c=15", "one must stay: use 0 to 14"),
        ("truncated:c=-1", "use 0 to 14"),
        ("recovery:c=16", "n=8 has 0 to 15, from bit 14 down"),
        ("recovery:c=6,n=12", "n is a power of two: 4, 8, 16, 32"),
        ("planar:level=8", "planar: level=8; 1 to 7 leading bits"),
        ("planar:level=0", "planar: level=0"),
        ("or_compressed:n=7", "n=7 is odd; it compresses pairs of rows"),
        ("kulkarni:n=5", "n=5 is odd"),
        ("kulkarni:depth=7", "of n=8 runs from 0 to 6"),
        ("venkatachalam:n=16", "n=16 operand bits; it is defined for 8 only"),
        ("exact:form=baugh_wooley", "form=baugh_wooley is two's complement by definition; give signed=true with it"),
        ("exact:form=booth", "form=booth is two's complement by definition; give signed=true with it"),
        ("exact:form=boot", "form=boot .did you mean 'booth'.*one of magnitudes, baugh_wooley, booth"),
        ("exact:n=33", "n=33 operand bits; it is defined for 2 to 32"),
        ("momeni:variant=5", "momeni: variant=5; 1, 2: design 1, 2 throughout"),
        ("momeni:variant=1,n=3", "defined for 4 to 32"),
        ("tosam:h=6,t=5", "tosam: h=6, t=5; of the 7 fraction bits"),
        ("iterative_log:iterations=0", "iterations=0; use 1 to n=8, which is exact"),
        ("iterative_log:iterations=1,t=8", "has 0 to 7 bits below the leading 1"),
        ("hybrid_radix:r=7", "both are even, and r is 6 to n"),
        ("hybrid_radix:r=6,signed=false", "signed multiplier by definition"),
        ("kulkani", r"unknown multiplier 'kulkani' \(did you mean 'kulkarni'\?\)"),
        ("DRUM:k=6", r"unknown multiplier 'DRUM' \(did you mean 'drum'\?\)"),
        ("exact:n=0", "^exact: n=0 operand bits"),
        ("compressed:haem", r"no design file haem \(did you mean 'heam'\?\); expected heam, FILE.json"),
    ],
)
def test_impossible_parameters_are_answered(spec: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cs.multiplier(spec)


def test_operands_of_another_width_are_refused() -> None:
    word = PlaneWord.from_ints(np.arange(4), 7)
    with pytest.raises(ValueError, match="operands of 7 and 7 bits; it takes 8 and 8"):
        cs.multiplier("exact")(word, word)


def test_catalog_names_the_papers_instances() -> None:
    names = catalog()
    assert {names[s] for s in ("recovery:c=6", "recovery:c=7", "kulkarni", "venkatachalam", "compressed:heam")} == {
        "C.6", "C.7", "KMap", "AC", "HEAM",
    }  # fmt: skip
    assert [names[s] for s in ("or_compressed", "planar:level=1", "planar:level=3")] == ["SDLC", "L.1", "L.3"]
    for spec in names:
        assert cs.multiplier(spec).spec == spec
    without_files = set(MULTIPLIERS.names()) - {"table"}
    assert {cs.multiplier(spec).name for spec in names} == without_files
