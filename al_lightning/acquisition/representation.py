"""Representations: the space in which criteria measure, learned anew in every cycle from the labeled summaries.

Shape letters: N scenes, S stochastic passes, H steps of a window, D size of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from al_lightning.acquisition.functional import dispersion, neighborhood_correlation
from al_lightning.acquisition.threads import one_thread
from al_lightning.types import Summary

# Error patterns embedded together.
BLOCK = 4096

PoolEmbedding = Literal["deterministic", "mean", "normalized_mean"]


@dataclass(frozen=True)
class Represented:
    """Summaries in a representation, and how well it was learned.

    Attributes:
        pool: summaries of the candidates.
        labeled: summaries of the labeled set.
        curves: name -> (epochs,) float64, what was minimized while it was learned.
        metrics: name -> what it is worth, measured on the labeled set.
    """

    pool: Summary
    labeled: Summary
    curves: dict[str, Tensor] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class Representation(Protocol):
    """Adds fields to the summaries of a cycle before the criteria read them."""

    def __call__(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Represented:
        """Pool and labeled summaries with more fields; the same units in the same order.

        Args:
            pool: summaries of the candidates.
            labeled: summaries of the labeled set.
            generator: source of randomness on the CPU, seeded by the caller for the cycle.
        """
        ...

    def rehearsal(self) -> Representation:
        """One that refuses the same input, but learns as little as it can."""
        ...


class SceneRepresentation:
    """Scene embeddings: an encoder trained on the labeled scenes, applied to all (planning paper, "Scene Encoder").

    Reads ``error_window`` (N, H, 2) of all scenes, ``safety`` (N, H) of the labeled ones and ``error_window_samples``
    (N, S, H, 2), one error pattern a stochastic pass of the planner, of the pool. Adds ``embedding`` (N, D) to both
    and, of S > 1 passes, the ``dispersion`` (N,) of their embeddings to the pool.

    The encoder is drawn and trained anew at every call, from the generator alone: the result does not depend on what
    the encoder held, on the global random state, or on the number of threads.

    Readings of the paper, the default being the most literal one:

    - Optimizer, learning rate and batch size are not given: Adam at 0.001, and all labeled scenes in one batch.
    - S and R measure distances between z_i. The paper defines z_i = g(e_i), "l2-normalized on the unit hypersphere",
      and says of retrieval that "an unseen scene j can be embedded as z_j = g(e_j)": one pass of the encoder without
      dropout over the error pattern of the plan without dropout (``pool_embedding: deterministic``), as the hazards are
      embedded, too. It calls the mean of the S embeddings z_i as well, but where the covariance for U is taken around
      it; who reads that as the definition takes ``mean``, which lies inside the sphere, or ``normalized_mean``,
      which is brought back onto it.
    - Elsewhere z_i is "the original-scale embedding", which only the loss normalizes: the encoder's ``normalize``.
    - The S embeddings come from S passes of the planner and of the encoder, both with dropout; without
      ``encoder_dropout`` from the planner's alone.
    - Labeled scenes, the hazards among them, are embedded by one pass without dropout ("each unseen scene is evaluated
      with stochastic passes"); ``stochastic_labeled`` embeds them by a mean, as the pool, and needs their
      ``error_window_samples``.

    Args:
        encoder: error patterns (B, H, 2) -> embeddings (B, D). Its parameters belong to modules with
            ``reset_parameters``, its randomness to `nn.Dropout` modules.
        loss: (embeddings (B, D), safety states (B, H)) -> scalar.
        epochs: passes over the labeled scenes.
        lr: learning rate of Adam.
        batch_size: labeled scenes of a step; None for all.
        pool_embedding: see above.
        encoder_dropout: leave the encoder's dropout on for stochastic embeddings.
        stochastic_labeled: embed labeled scenes as the mean of stochastic passes, too.

    Raises:
        ValueError: a number is out of range, a reading is unknown, the labeled scenes shall be embedded by a mean and
            the pool not, or a parameter of the encoder could not be drawn anew.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        epochs: int = 3000,
        lr: float = 1e-3,
        batch_size: int | None = None,
        pool_embedding: PoolEmbedding = "deterministic",
        encoder_dropout: bool = True,
        stochastic_labeled: bool = False,
    ) -> None:
        if epochs < 0 or lr <= 0 or (batch_size is not None and batch_size < 2):
            raise ValueError(
                "epochs must not be negative, lr positive and batch_size at least 2, "
                f"got {epochs}, {lr} and {batch_size}"
            )
        if pool_embedding not in get_args(PoolEmbedding):
            raise ValueError(
                f"pool_embedding must be one of {', '.join(get_args(PoolEmbedding))}, got {pool_embedding!r}"
            )
        if stochastic_labeled and pool_embedding == "deterministic":
            raise ValueError("stochastic_labeled embeds labeled scenes as the pool: pool_embedding must be a mean")
        self.encoder, self.loss = encoder, loss
        self.epochs, self.lr, self.batch_size = epochs, lr, batch_size
        self.pool_embedding, self.encoder_dropout = pool_embedding, encoder_dropout
        self.stochastic_labeled = stochastic_labeled
        _resettable(encoder)

    def __call__(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Represented:
        """Train on the labeled scenes, embed both.

        The curve ``loss`` is that of `fit`; the metric ``embedding/correlation`` says how well distances between
        labeled scenes tell differences in safety (`functional.neighborhood_correlation`).

        Raises:
            ValueError: there are fewer than two labeled scenes, the loss is not finite, or there is no stochastic pass
                to take a mean of.
        """
        loss = self.fit(labeled, generator)
        pool = self._embed_pool(pool, generator)
        labeled = (self.embed_samples if self.stochastic_labeled else self.embed)(labeled, generator)
        correlation = neighborhood_correlation(labeled["embedding"], labeled["safety"])
        return Represented(pool, labeled, {"loss": loss}, {"embedding/correlation": correlation})

    def rehearsal(self) -> SceneRepresentation:
        """The same with one epoch."""
        short = copy(self)
        short.epochs = min(self.epochs, 1)
        return short

    @one_thread()
    def fit(self, labeled: Summary, generator: torch.Generator) -> Tensor:
        """Draw the encoder and train it on the error patterns and safety states of the labeled scenes.

        Returns:
            (epochs,) float64, mean loss over the scenes of each epoch, with dropout.

        Raises:
            ValueError: there are fewer than two labeled scenes, or the loss is not finite.
        """
        if len(labeled) < 2:
            raise ValueError(f"the encoder is trained on pairs of labeled scenes; there are {len(labeled)} scenes")
        error, safety = labeled["error_window"].float(), labeled["safety"].float()
        curve = torch.zeros(self.epochs, dtype=torch.float64)
        with _drawing_from(generator):
            _resettable(self.encoder, reset=True)
            optimizer = torch.optim.Adam(self.encoder.parameters(), lr=self.lr, fused=True)
            self.encoder.train()
            for epoch in range(self.epochs):
                for rows in self._batches(len(labeled)):
                    loss = self.loss(self.encoder(error[rows]), safety[rows])
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    curve[epoch] += loss.detach() * len(rows) / len(labeled)
            self.encoder.eval()
        if not bool(curve.isfinite().all()):
            epoch = int(curve.isfinite().int().argmin())
            raise ValueError(
                f"training the scene encoder had loss {float(curve[epoch])} in epoch {epoch}; lower lr={self.lr}"
            )
        return curve

    def _batches(self, count: int) -> list[Tensor]:
        """Rows of the batches of an epoch; a single batch keeps its order, which does not matter."""
        if self.batch_size is None or self.batch_size >= count:
            return [torch.arange(count)]
        order = torch.randperm(count)
        return [order[i : i + self.batch_size] for i in range(0, count, self.batch_size)]

    def _embed_pool(self, pool: Summary, generator: torch.Generator) -> Summary:
        if self.pool_embedding != "deterministic":
            return self.embed_samples(pool, generator)
        if pool["error_window_samples"].shape[1] > 1:
            pool = _with(pool, dispersion=self._over_passes(pool, generator, _scatter)[0])
        return self.embed(pool)

    def embed(self, scenes: Summary, generator: torch.Generator | None = None) -> Summary:
        """Add ``embedding`` (N, D) of ``error_window``, by one pass without dropout."""
        return _with(scenes, embedding=self._encode(scenes["error_window"]))

    def embed_samples(self, scenes: Summary, generator: torch.Generator) -> Summary:
        """Add the mean ``embedding`` (N, D) of ``error_window_samples`` and, of S > 1, their ``dispersion`` (N,).

        Raises:
            ValueError: there is no stochastic pass.
        """
        windows = scenes["error_window_samples"]
        if not windows.shape[1]:
            raise ValueError("the mean of stochastic embeddings needs stochastic passes: task.passes is 0")
        mean, *scatter = self._over_passes(scenes, generator, _mean, *[_scatter] * (windows.shape[1] > 1))
        normalized = self.pool_embedding == "normalized_mean"
        fields = {"embedding": nn.functional.normalize(mean, dim=1) if normalized else mean}
        if scatter:
            fields["dispersion"] = scatter[0]
        return _with(scenes, **fields)

    def _over_passes(
        self, scenes: Summary, generator: torch.Generator, *statistics: Callable[[Tensor], Tensor]
    ) -> list[Tensor]:
        """Statistics (N, ...), each a function of the embeddings (n, S, D) of the stochastic passes of some scenes."""
        windows, parts = scenes["error_window_samples"], []
        with _drawing_from(generator):
            if self.encoder_dropout:
                _switch_dropout_on(self.encoder)
            for some in torch.split(windows, max(1, BLOCK // windows.shape[1])):
                samples = self._encode(some.flatten(0, 1)).reshape(*some.shape[:2], -1)
                parts.append([statistic(samples) for statistic in statistics])
            self.encoder.eval()
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    @one_thread()
    @torch.no_grad()
    def _encode(self, windows: Tensor) -> Tensor:
        windows = windows.float()
        return torch.cat([self.encoder(windows[i : i + BLOCK]) for i in range(0, len(windows), BLOCK)])


def _mean(samples: Tensor) -> Tensor:
    return samples.double().mean(1)


def _scatter(samples: Tensor) -> Tensor:
    return dispersion(samples.movedim(1, 0))


def _with(summary: Summary, **fields: Tensor) -> Summary:
    return replace(summary, fields=summary.fields | fields)


def _resettable(encoder: nn.Module, reset: bool = False) -> None:
    """Draw all parameters anew, or only check that this can be done."""
    for name, module in encoder.named_modules():
        draw = getattr(module, "reset_parameters", None)
        if draw is None and list(module.parameters(recurse=False)):
            raise ValueError(f"the encoder's module '{name}' has parameters but no reset_parameters")
        if draw is not None and reset:
            draw()


def _switch_dropout_on(encoder: nn.Module) -> None:
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.train()


@contextmanager
def _drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global random state, which dropout and initialization use, from a generator; put it back after."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
