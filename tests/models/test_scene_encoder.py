"""The scene encoder against PyTorch's own transformer layers, and the behaviour of its dropout."""

import pytest
import torch
from torch import nn

from al_lightning.losses import SafetyContrastive
from al_lightning.models import SceneEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return SceneEncoder().eval()


def reference(encoder):
    """The same weights in `nn.TransformerEncoderLayer`s: the last step of the whole sequence."""
    layers = []
    for layer in encoder.layers:
        other = nn.TransformerEncoderLayer(128, 4, 128, 0.1, batch_first=True).eval()
        attention = layer.attention
        parts = attention.query, attention.key, attention.value
        other.self_attn.in_proj_weight.data = torch.cat([part.weight for part in parts])
        biases = attention.query.bias, torch.randn(128), attention.value.bias  # that of the keys has no effect
        other.self_attn.in_proj_bias.data = torch.cat(biases)
        other.self_attn.out_proj.load_state_dict(attention.out.state_dict())
        other.linear1.load_state_dict(layer.feedforward[0].state_dict())
        other.linear2.load_state_dict(layer.feedforward[3].state_dict())
        other.norm1.load_state_dict(layer.norms[0].state_dict())
        other.norm2.load_state_dict(layer.norms[1].state_dict())
        layers.append(other)

    def forward(error):
        steps = torch.relu(encoder.embed[2](torch.relu(encoder.embed[0](error)))) + encoder.position
        for layer in layers:
            steps = layer(steps)
        z = encoder.project(steps[:, -1])
        return z / z.norm(dim=1, keepdim=True)

    return forward


def test_equals_pytorchs_transformer_and_lies_on_the_sphere(encoder):
    error = torch.randn(9, 5, 2)
    with torch.no_grad():
        z = encoder(error)
        torch.testing.assert_close(z, reference(encoder)(error), rtol=1e-4, atol=1e-5)
    assert z.shape == (9, 128)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(9))


def test_order_of_steps_matters_order_of_scenes_does_not(encoder):
    error = torch.randn(4, 5, 2)
    with torch.no_grad():
        z = encoder(error)
        torch.testing.assert_close(encoder(error[[2, 0, 3, 1]]), z[[2, 0, 3, 1]], rtol=1e-4, atol=1e-5)
        assert (encoder(error.flip(1)) - z).abs().max() > 1e-3


def test_every_parameter_has_a_gradient(encoder):
    encoder(torch.randn(6, 5, 2))[:, 0].sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_attention_weights_need_not_be_dropped(encoder):
    torch.manual_seed(0)
    spared, error = SceneEncoder(attention_dropout=False).eval(), torch.randn(3, 5, 2)
    assert all(torch.equal(a, b) for a, b in zip(spared.parameters(), encoder.parameters(), strict=True))
    with torch.no_grad():
        for network, equal in ((spared, True), (encoder, False)):
            for layer in network.layers:
                layer.attention.train()
            assert torch.equal(network(error), network.eval()(error)) == equal
        assert not torch.equal(spared.train()(error), spared.eval()(error))


def test_all_randomness_is_in_dropout_modules(encoder):
    """Each of them, switched on alone, makes passes differ; with all off, passes are equal in training mode too."""
    error = torch.randn(3, 5, 2)
    switches = [module for module in encoder.modules() if isinstance(module, nn.Dropout)]
    assert len(switches) == 8  # attention weights, hidden units, and twice before a residual sum, in two layers
    with torch.no_grad():
        for switch in switches:
            switch.train()
            assert not torch.equal(encoder(error), encoder(error))
            switch.eval()
        assert torch.equal(encoder(error), encoder(error))
        encoder.train()
        for switch in switches:
            switch.eval()
        assert torch.equal(encoder(error), encoder.eval()(error))


def test_one_query_is_attended_as_the_last_of_all(encoder):
    """Also when dropout keeps the attention weights from summing to 1."""

    class Fixed(nn.Module):
        def forward(self, weights):
            return weights * torch.tensor([0.0, 2.0, 0.5, 0.0, 1.0], dtype=weights.dtype)

    attention = encoder.layers[-1].attention.double()
    attention.dropout = Fixed()
    steps = torch.randn(3, 5, 128, dtype=torch.float64)
    torch.testing.assert_close(attention(steps[:, -1:], steps), attention(steps, steps)[:, -1:])


def test_dropout_drops_its_share_and_keeps_the_mean(encoder):
    dropout = encoder.layers[0].dropouts[0].train()
    values = dropout(torch.ones(200_000))
    torch.testing.assert_close(values.unique(), torch.tensor([0.0, 1 / 0.9]))
    assert float((values == 0).float().mean()) == pytest.approx(0.1, abs=0.005)


def test_embeddings_of_original_scale_have_the_same_directions_and_the_same_loss(encoder):
    plain = SceneEncoder(normalize=False).eval()
    plain.load_state_dict(encoder.state_dict())
    error, safety = torch.randn(30, 5, 2), torch.rand(30, 5)
    unit, z = encoder(error), plain(error)
    assert float(z.norm(dim=1).std()) > 0.01
    torch.testing.assert_close(z / z.norm(dim=1, keepdim=True), unit)
    loss = SafetyContrastive(temperature=0.07, percentile=10.0)
    torch.testing.assert_close(loss(z, safety), loss(unit, safety))


def test_wrong_sizes_are_refused(encoder):
    with pytest.raises(ValueError, match="heads"):
        SceneEncoder(heads=3)
    with pytest.raises(ValueError, match="positive"):
        SceneEncoder(layers=0)
    with pytest.raises(ValueError, match="error patterns"):
        encoder(torch.zeros(2, 6, 2))
    with pytest.raises(ValueError, match="dropout"):
        SceneEncoder(dropout=1.0)
