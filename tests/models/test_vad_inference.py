"""What takes the place of PyTorch's code on the CPU where no gradient is wanted gives the same numbers."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from fake_driving import driving_inputs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from al_lightning.models.resnet import ResNet
from al_lightning.models.vad import VAD, VADSize, deformable, layers, monte_carlo_dropout
from al_lightning.models.vad.attention_kernel import attend, suits
from al_lightning.models.vad.bev_attention import TemporalSelfAttention
from al_lightning.models.vad.deformable import DeformableAttention, read_around
from al_lightning.models.vad.dropout import Dropout
from al_lightning.models.vad.layers import Attention
from al_lightning.models.vad.linear import linear
from al_lightning.types import VoxelGrid


def random_reading(seed: int, maps: int, shared: bool, some: bool, alike: bool = False):
    """Arguments of `read_around`; many points lie outside of the map, some of them far. Alike: one map for all."""
    g = torch.Generator().manual_seed(seed)
    B, Q, S, H, W, heads, d, Z, P = 2, 7, 4 if some else 7, 3, 5, 2, 3, 2, 4
    own = 1 if shared else maps
    anchors = torch.rand(B, 1, S, Z, 2, generator=g).expand(-1, maps, -1, -1, -1) * 1.6 - 0.3
    anchors[0, :, 0, 0], anchors[0, :, 1, 0, 0] = 1e9, -1e30
    arguments = [
        torch.randn(B, 1 if alike else maps, H * W, heads, d, generator=g),
        (H, W),
        anchors,
        3 * torch.randn(B, Q, heads, own, P, 2, generator=g).round(decimals=1),
        5 * torch.randn(B, Q, heads, own, P, generator=g),
    ]
    if some:
        arguments.append(torch.stack([torch.randperm(Q, generator=g)[:S] for _ in range(B * maps)]).view(B, maps, S))
        arguments.append(torch.rand(B, maps, S, generator=g) < 0.7)
    return arguments


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31), maps=st.integers(1, 3), shared=st.booleans(), some=st.booleans(), alike=st.booleans()
)
def test_reading_without_gradient_gives_the_same(seed, maps, shared, some, alike):
    values, *others = random_reading(seed, maps, shared, some, alike)
    expected = read_around(values.clone().requires_grad_(), *others)
    assert expected.requires_grad
    found = read_around(values, *others)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("past", [False, True])
def test_attention_over_time_by_parts_is_that_of_the_joined_input(past):
    torch.manual_seed(0)
    layer, B, (H, W), C = TemporalSelfAttention(16, 2, 0.1, points=3), 2, (3, 4), 16
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    query, positions, reference = torch.randn(B, H * W, C), torch.randn(H * W, C), torch.rand(B, H * W, 2)
    slots = torch.randn(B, 2, H * W, C) if past else query[:, None].expand(-1, 2, -1, -1)
    joined = torch.cat((slots[:, 0], query + positions), dim=-1)
    offsets = layer.sampling_offsets(joined).view(B, H * W, 2, 2, 3, 2)
    scores = layer.attention_weights(joined).view(B, H * W, 2, 2, 3)
    values = layer.value_proj(slots).view(B, 2, H * W, 2, 8)
    anchors = reference[:, None, :, None].expand(-1, 2, -1, -1, -1)
    expected = layer.output_proj(read_around(values, (H, W), anchors, offsets, scores) / 2)
    for gradient in (True, False):
        with torch.set_grad_enabled(gradient):
            found = layer.read(query, layer.begin(positions, slots if past else None), (H, W), reference)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_few_queries_read_first_and_project_then(monkeypatch):
    """Values are those of reading the projected cells, also of points outside of the view."""
    torch.manual_seed(0)
    layer, B, Q, (H, W), C = DeformableAttention(16, 2, 0.0, points=3), 2, 4, (6, 7), 16
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    query, positions, bev = torch.randn(B, Q, C), torch.randn(B, Q, C), torch.randn(B, H * W, C)
    reference, found = torch.linspace(0, 1, B * Q * 2).view(B, Q, 2), []
    for few in (1, Q * H * W):
        monkeypatch.setattr(deformable, "FEW", few)
        with torch.no_grad():
            found.append(layer(query, positions, bev, (H, W), reference))
    with monkeypatch.context() as patch:
        patch.setattr(DeformableAttention, "_read_few", lambda *_: pytest.fail("slower where gradients are wanted"))
        monkeypatch.setattr(deformable, "FEW", 1)
        found.append(layer(query, positions, bev, (H, W), reference))
    assert found[2].requires_grad
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[0], found[2].detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", ["x", "y"])
def test_reading_at_the_far_edge_of_a_map(side):
    """Where a place plus one rounds up to the width."""
    H = W = 8
    values = torch.rand(1, 1, H * W, 1, 3) + 1
    place = torch.nextafter(torch.tensor(8.0), torch.tensor(0.0)) / 8
    anchors = torch.full((1, 1, 1, 1, 2), 0.4)
    anchors[..., "xy".index(side)] = place
    offsets = torch.full((1, 1, 1, 1, 1, 2), 0.5)
    arguments = (H, W), anchors, offsets, torch.zeros(1, 1, 1, 1, 1)
    expected = read_around(values.clone().requires_grad_(), *arguments).detach()
    torch.testing.assert_close(read_around(values, *arguments), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
@pytest.mark.parametrize("which", ["values", "offsets", "scores"])
def test_reading_passes_on_what_is_no_number(which, number):
    """To the query that meets it, and to no other; it also comes of what is infinite."""
    arguments = random_reading(0, 1, False, False)
    place = {"values": 0, "offsets": 3, "scores": 4}[which]
    arguments[place][0, 0] = number  # a whole map, or what the first query asks
    expected = ~read_around(arguments[0].clone().requires_grad_(), *arguments[1:]).isfinite()
    assert torch.equal(~read_around(*arguments).isfinite(), expected)
    assert expected.any()
    assert not expected.all()


def test_reading_does_not_depend_on_the_number_of_threads():
    arguments, threads = random_reading(0, 2, False, True), torch.get_num_threads()
    found = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(read_around(*arguments))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(0, 5), (5,), (3, 5), (2, 3, 4, 5)])
def test_linear_layers_are_those_of_torch(shape, bias):
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(shape, generator=g), torch.randn(7, 5, generator=g)
    b = torch.randn(7, generator=g) if bias else None
    torch.testing.assert_close(linear(x, weight, b), F.linear(x, weight, b), rtol=1e-5, atol=1e-5)
    strided = x.expand(2, *shape).movedim(0, -2)
    torch.testing.assert_close(linear(strided, weight, b), F.linear(strided, weight, b), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("before", [0, 1, 2, 623, 624])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1 / 3, 1.0])
def test_dropout_draws_as_torch_draws(p, before):
    """Whatever was drawn before, also an odd number, and what is drawn afterwards."""
    x = torch.randn(5, 400, generator=torch.Generator().manual_seed(0))
    found = []
    for layer in (Dropout(p), nn.Dropout(p)):
        torch.manual_seed(3)
        torch.rand(before)
        found.append(torch.cat([*(layer(x[:, :n]).flatten() for n in (1, 400, 0, 311)), torch.rand(9), torch.randn(3)]))
    assert torch.equal(*found)


def test_dropout_draws_in_the_order_of_memory_as_torch_does():
    x, found = torch.randn(5, 7).t(), []
    for layer in (Dropout(0.5), nn.Dropout(0.5)):
        torch.manual_seed(3)
        found.append(layer(x))
    assert torch.equal(*found)


def test_dropout_of_evaluation_changes_nothing():
    x, before = torch.ones(3), torch.get_rng_state()
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("masks", [(), ("ignored",), ("blocked",), ("ignored", "blocked")])
def test_attention_is_that_of_torch(masks):
    torch.manual_seed(0)
    ours, B, Q, S, C = Attention(8, 2, 0.1).eval(), 3, 4, 5, 8
    nn.init.normal_(ours.attn.in_proj_bias)
    query, key, query_pos, key_pos = (torch.randn(B, n, C) for n in (Q, S, Q, S))
    all_masks = {"ignored": torch.rand(B, S) < 0.3, "blocked": torch.rand(B, Q, S) < 0.3}
    chosen = {name: all_masks[name].index_fill(-1, torch.tensor([2]), False) for name in masks}
    blocked = chosen.get("blocked")
    read, _ = ours.attn(
        query + query_pos, key + key_pos, key, key_padding_mask=chosen.get("ignored"), need_weights=False,
        attn_mask=None if blocked is None else blocked.repeat_interleave(2, dim=0),
    )  # fmt: skip
    found = ours(query, key, query_pos, key_pos, **chosen)
    torch.testing.assert_close(found, read + query, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("queries", "keys", "heads", "channels"), [(1, 8, 1, 8), (70, 264, 2, 32), (64, 128, 3, 24)])
def test_attention_in_tiles_is_that_of_torch(threads, queries, keys, heads, channels):
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, channels, generator=g) for n in (queries, keys, keys))
    q = 20 * q  # some scores lie farther below the highest than a float32's exponent reaches
    apart = (x.double().view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))
    expected = F.scaled_dot_product_attention(*apart).transpose(1, 2).flatten(2).float()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert suits(k, heads)
        torch.testing.assert_close(attend(q, k, v, heads), expected, rtol=1e-4, atol=2e-5)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("part", range(3))
def test_attention_in_tiles_hides_no_nan(part):
    tensors = [torch.ones(1, 8, 8) for _ in range(3)]
    tensors[part][0, 3, 2] = torch.nan
    found = attend(*tensors, heads=1)
    assert found[0, 3].isnan().any()


@pytest.mark.parametrize("attention", [False, True])
def test_places_are_looked_at_as_if_keys_were_made_of_them(attention):
    torch.manual_seed(0)
    layer, codes, b, alike, Q, S, C = Attention(16, 2, 0.3).eval(), nn.Linear(2, 16), 2, 3, 4, 5, 16
    layer.attn.train(attention)
    nn.init.normal_(layer.attn.in_proj_bias)
    query, query_pos = torch.randn(2, b * alike, Q, C)
    key, places, ignored = torch.randn(b, S, C), torch.randn(b * alike, S, 2), torch.rand(b * alike, S) < 0.4
    ignored[:, -1] = False
    found = []
    for gradient in (False, True):
        torch.manual_seed(1)
        with torch.set_grad_enabled(gradient):
            found.append(layer.read_places(query, key, query_pos, places, codes, ignored).detach())
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_the_compiled_ways_are_taken_without_gradient_alone(monkeypatch):
    taken = []
    monkeypatch.setattr(layers, "attend", lambda q, *_: taken.append("tiles") or q)
    layer, codes = Attention(16, 2, 0.1).eval(), nn.Linear(2, 16)
    codes.register_forward_hook(lambda *_: taken.append("keys of places"))
    query, ignored = torch.randn(3, 8, 16), torch.zeros(3, 8, dtype=torch.bool)
    for gradient, expected in ((False, ["tiles"]), (True, ["keys of places"])):
        taken.clear()
        with torch.set_grad_enabled(gradient):
            layer.read(query, query, query, query)
            layer.read_places(query, query, query, torch.randn(3, 8, 2), codes, ignored)
        assert taken == expected


def test_queries_may_share_their_keys():
    torch.manual_seed(0)
    attention = Attention(8, 2, 0.1).eval()
    query, query_pos, key_pos, key = (torch.randn(n, 4, 8) for n in (6, 6, 6, 2))
    apart = attention(query, key.repeat_interleave(3, dim=0), query_pos, key_pos)
    torch.testing.assert_close(attention(query, key, query_pos, key_pos), apart, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def network() -> VAD:
    """Of two layers each, since only the first reads what is prepared."""
    torch.manual_seed(0)
    grid = VoxelGrid((-15.0, -30.0, -2.0), (15.0, 30.0, 2.0), (10, 20, 4))
    size = VADSize(dims=32, heads=4, hidden=48, encoder_layers=2, decoder_layers=2, agents=8, lines=5, line_points=4)
    trunk = ResNet(block="basic", blocks=(1, 1, 1, 1), width=8)
    return VAD(grid, trunk, size, stride=16, frozen_trunk=False, turning_point=None).eval()


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("past", [False, True])
def test_what_is_prepared_once_serves_all_passes(network, attention, past):
    inputs = driving_inputs()
    inputs.new_scene = torch.tensor([not past])
    with torch.no_grad():
        features = network.extract(inputs.images)
        history = network.carry(inputs) if past else None
        again = network.prepare(features, inputs, history)
        plan = again().plan
        for seed in range(2):
            with monte_carlo_dropout(network, attention):
                torch.manual_seed(seed)
                found = again()
                torch.manual_seed(seed)
                assert torch.equal(again(plan_only=True).plan, found.plan)
                torch.manual_seed(seed)
                expected = network.drive(features, inputs, history)
                torch.manual_seed(seed)
                with torch.enable_grad():  # the plain code
                    plain = network.drive(features, inputs, history)
            for field in dataclasses.fields(found):
                assert torch.equal(getattr(found, field.name), getattr(expected, field.name))
            torch.testing.assert_close(found.plan, plain.plan.detach(), rtol=1e-4, atol=1e-4)
            assert not torch.allclose(found.plan, plan, atol=1e-4)
        assert torch.equal(again().plan, plan)
