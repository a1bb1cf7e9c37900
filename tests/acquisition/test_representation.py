"""The scene representation: what it computes, that it learns, and that nothing but the generator decides the result."""

import itertools

import pytest
import torch
from torch import nn

from al_lightning.acquisition import SceneRepresentation, Uncertainty
from al_lightning.acquisition.functional import neighborhood_correlation
from al_lightning.losses import SafetyContrastive
from al_lightning.models import SceneEncoder
from al_lightning.types import Summary

S = 4


def scenes(seed, count, first_unit=0):
    """Plans that drift aside and ahead: only the drift to the right is dangerous, though that ahead is larger."""
    generator = torch.Generator().manual_seed(seed)
    aside, ahead = torch.randn(2, count, 1, 1, generator=generator)
    steps = torch.arange(1.0, 6)[:, None]
    window = torch.cat([0.3 * aside * steps, ahead * steps], dim=2)
    window = window + 0.05 * torch.randn(count, 5, 2, generator=generator)
    safety = torch.sigmoid(3 * aside[:, 0] - torch.arange(5.0) / 5)
    samples = window[:, None] + 0.02 * torch.randn(count, S, 5, 2, generator=generator)
    fields = {"error_window": window, "safety": safety, "error_window_samples": samples}
    return Summary(torch.arange(first_unit, first_unit + count), fields)


def without(summary, *names):
    return Summary(summary.units, {name: values for name, values in summary.fields.items() if name not in names})


POOL, LABELED = scenes(0, 30, 100), scenes(1, 24)


def small(**changes):
    encoder = SceneEncoder(channels=16, dim=8, feedforward=16)
    return SceneRepresentation(encoder, SafetyContrastive(), **({"epochs": 15} | changes))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def equal(a, b):
    return a.fields.keys() == b.fields.keys() and all(torch.equal(a[name], b[name]) for name in a.fields)


def test_fields_of_the_pool_and_the_labeled_scenes():
    """The pool has no safety states, the labeled scenes need no stochastic error patterns."""
    found = small()(without(POOL, "safety"), without(LABELED, "error_window_samples"), seeded())
    pool, labeled = found.pool, found.labeled
    assert pool.fields.keys() == {"error_window", "error_window_samples", "embedding", "dispersion"}
    assert labeled.fields.keys() == {"error_window", "safety", "embedding"}
    assert pool["embedding"].shape == (30, 8)
    assert pool["dispersion"].shape == (30,)
    assert labeled["embedding"].shape == (24, 8)
    assert torch.equal(pool.units, POOL.units)
    for summary in (pool, labeled):
        torch.testing.assert_close(summary["embedding"].norm(dim=1), torch.ones(len(summary)))


def test_the_pool_is_embedded_as_the_labeled_scenes_are():
    """z = g(e) without any dropout: a scene of the pool with a hazard's error pattern lies on the hazard."""
    found = small()(without(LABELED, "safety"), LABELED, seeded())
    assert torch.equal(found.pool["embedding"], found.labeled["embedding"])
    assert (found.pool["dispersion"] > 0).all()


def test_no_mean_is_kept_where_none_is_read(monkeypatch):
    expected = small(pool_embedding="mean")(POOL, LABELED, seeded()).pool["dispersion"]
    monkeypatch.delattr(SceneRepresentation, "embed_samples")
    assert torch.equal(small()(POOL, LABELED, seeded()).pool["dispersion"], expected)


def test_the_mean_embedding_and_the_dispersion():
    pool = small(pool_embedding="mean")(without(POOL, "error_window"), LABELED, seeded()).pool
    # Of S points on the sphere, the mean lies within it; what it lacks to length 1 is their scatter.
    squared = pool["embedding"].square().sum(1)
    torch.testing.assert_close(pool["dispersion"], (1 - squared) * S / (S - 1), rtol=1e-5, atol=1e-6)
    assert (squared < 1).all()


@pytest.mark.parametrize("passes", [0, 1])
def test_less_than_two_passes_have_no_dispersion(passes):
    """Enough to be near to hazards or rare, not to be uncertain."""
    pool = Summary(POOL.units, POOL.fields | {"error_window_samples": POOL["error_window_samples"][:, :passes]})
    found = small()(pool, LABELED, seeded()).pool
    assert "embedding" in found.fields
    with pytest.raises(ValueError, match=r"two stochastic passes or more \(task\.passes\)"):
        Uncertainty().score(found, LABELED, seeded())
    if not passes:
        with pytest.raises(ValueError, match=r"task\.passes is 0"):
            small(pool_embedding="mean")(pool, LABELED, seeded())


def test_blocks_change_nothing(monkeypatch):
    representation = small(encoder_dropout=False, pool_embedding="mean")
    whole = representation(POOL, LABELED, seeded()).pool
    monkeypatch.setattr("al_lightning.acquisition.representation.BLOCK", 2 * S + 1)
    blocks = representation(POOL, LABELED, seeded()).pool
    for name in ("embedding", "dispersion"):
        torch.testing.assert_close(blocks[name], whole[name], rtol=1e-5, atol=1e-7)


def test_only_the_generator_decides():
    """Not the global random state, which is left as it was, nor what the encoder held before, nor the threads."""
    first = small()
    expected = first(POOL, LABELED, seeded())
    again = first(POOL, LABELED, seeded())
    torch.manual_seed(123)
    other = small()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    fresh = other(POOL, LABELED, seeded())
    torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)
    for result in (again, fresh):
        assert equal(result.pool, expected.pool)
        assert equal(result.labeled, expected.labeled)
        assert torch.equal(result.curves["loss"], expected.curves["loss"])
        assert result.metrics == expected.metrics
    different = first(POOL, LABELED, seeded(1))
    assert not torch.equal(different.pool["embedding"], expected.pool["embedding"])


def test_encoder_is_left_in_evaluation_mode_and_was_trained_with_dropout():
    seen = []

    class Watched(SceneEncoder):
        def forward(self, error):
            seen.append(self.training)
            return super().forward(error)

    representation = SceneRepresentation(Watched(channels=8, dim=4), SafetyContrastive(), epochs=3)
    representation(POOL, LABELED, seeded())
    assert seen == [True] * 3 + [False] * 3  # evaluation mode for embeddings, with dropout modules alone switched on
    assert not any(module.training for module in representation.encoder.modules())


def test_dropout_of_the_encoder_scatters_equal_passes():
    still = POOL.take(torch.arange(5))
    window = still["error_window"][:, None].expand(-1, S, -1, -1)
    still = Summary(still.units, {"error_window_samples": window})
    on, off = small(), small(encoder_dropout=False)
    on.fit(LABELED, seeded())
    off.fit(LABELED, seeded())
    scattered, together = on.embed_samples(still, seeded()), off.embed_samples(still, seeded())
    assert (scattered["dispersion"] > 1e-6).all()
    assert together["dispersion"].max() < 1e-12
    single = off.embed(POOL.take(torch.arange(5)))["embedding"]
    torch.testing.assert_close(together["embedding"], single.double())


def test_named_readings():
    normalized = small(pool_embedding="normalized_mean")(POOL, LABELED, seeded()).pool
    plain = small(pool_embedding="mean")(POOL, LABELED, seeded()).pool
    torch.testing.assert_close(normalized["embedding"].norm(dim=1), torch.ones(30, dtype=torch.float64))
    torch.testing.assert_close(normalized["embedding"], nn.functional.normalize(plain["embedding"], dim=1))
    stochastic = small(pool_embedding="mean", stochastic_labeled=True)(POOL, LABELED, seeded()).labeled
    assert stochastic["dispersion"].shape == (24,)
    assert (stochastic["embedding"].norm(dim=1) < 1).all()


def test_batches_cover_every_scene_once_an_epoch():
    rows = []

    class Recording(SafetyContrastive):
        def forward(self, z, safety):
            rows.append(safety[:, 0].tolist())
            return super().forward(z, safety)

    encoder = SceneEncoder(channels=8, dim=4)
    SceneRepresentation(encoder, Recording(), epochs=2, batch_size=10).fit(LABELED, seeded())
    assert [len(batch) for batch in rows] == [10, 10, 4] * 2
    for epoch in (rows[:3], rows[3:]):
        assert sorted(itertools.chain(*epoch)) == sorted(LABELED["safety"][:, 0].tolist())
    assert rows[:3] != rows[3:]


def test_blocks_do_not_change_embeddings_without_dropout(monkeypatch):
    representation = small(epochs=0)
    representation.fit(LABELED, seeded())
    whole = representation.embed(POOL)["embedding"]
    monkeypatch.setattr("al_lightning.acquisition.representation.BLOCK", 7)
    torch.testing.assert_close(representation.embed(POOL)["embedding"], whole)


def test_the_curve_is_the_mean_loss_over_the_scenes_of_each_epoch():
    losses = []

    class Recording(SafetyContrastive):
        def forward(self, z, safety):
            loss = super().forward(z, safety)
            losses.append(len(z) * float(loss.detach()))
            return loss

    representation = SceneRepresentation(SceneEncoder(channels=8, dim=4), Recording(), epochs=40, batch_size=10)
    curve = representation.fit(LABELED, seeded())
    expected = torch.tensor(losses).reshape(40, 3).sum(1) / len(LABELED)
    torch.testing.assert_close(curve, expected.double())
    assert curve[-5:].mean() < curve[:5].mean()
    assert representation(POOL, LABELED, seeded()).curves.keys() == {"loss"}


def test_the_metric_is_the_correlation_over_the_labeled_scenes():
    found = small(epochs=60)(POOL, without(LABELED, "error_window_samples"), seeded())
    embedding, safety = found.labeled["embedding"].double(), LABELED["safety"].amax(1)
    distance = torch.cdist(embedding, embedding)
    near = distance.argsort(dim=1)[:, 1:11]
    pairs = torch.stack([distance.gather(1, near), (safety[:, None] - safety[near]).abs()]).flatten(1)
    assert found.metrics == {"embedding/correlation": pytest.approx(float(torch.corrcoef(pairs)[0, 1]), abs=1e-5)}


def test_a_rehearsal_learns_one_epoch_and_refuses_the_same():
    whole = small()
    assert len(whole.rehearsal()(POOL, LABELED, seeded()).curves["loss"]) == 1
    assert len(small(epochs=0).rehearsal()(POOL, LABELED, seeded()).curves["loss"]) == 0
    assert whole.epochs == 15
    with pytest.raises(KeyError, match="error_window_samples"):
        whole.rehearsal()(without(POOL, "error_window_samples"), LABELED, seeded())


def test_training_orders_unseen_scenes_by_safety():
    """The claim of the paper's Fig. 2, on scenes of which the encoder saw none."""
    unseen, correlation = scenes(2, 60), {}
    for epochs in (0, 250):
        encoder = SceneEncoder(channels=32, dim=16, feedforward=32)
        representation = SceneRepresentation(encoder, SafetyContrastive(), epochs)
        representation.fit(scenes(1, 48), seeded())
        correlation[epochs] = neighborhood_correlation(representation.embed(unseen)["embedding"], unseen["safety"])
    assert correlation[0] < 0.3
    assert correlation[250] > 0.5


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="pairs of labeled scenes"):
        small()(POOL, LABELED.take(torch.arange(1)), seeded())
    with pytest.raises(ValueError, match="batch_size"):
        small(batch_size=1)
    with pytest.raises(ValueError, match="pool_embedding must be one of deterministic, mean, normalized_mean"):
        small(pool_embedding="median")
    with pytest.raises(ValueError, match="pool_embedding must be a mean"):
        small(stochastic_labeled=True)
    with pytest.raises(ValueError, match="lr"):
        small(lr=0.0)
    with pytest.raises(KeyError, match="error_window_samples"):
        small(epochs=1)(without(POOL, "error_window_samples"), LABELED, seeded())
    with pytest.raises(ValueError, match=r"had loss \w+ in epoch \d"):
        small(lr=1e30, epochs=5)(POOL, LABELED, seeded())

    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    with pytest.raises(ValueError, match="reset_parameters"):
        SceneRepresentation(nn.Sequential(Fixed()), SafetyContrastive())
