"""Embeddings as points of a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits
from torch import Tensor


def project(embedding: Tensor, perplexity: float) -> NDArray[np.float32]:
    """t-SNE of embeddings (N, D) to (N, 2), the same whatever the number of threads."""
    with threadpool_limits(1):
        points: NDArray[np.float32] = TSNE(perplexity=perplexity, random_state=0).fit_transform(embedding.numpy())
    return points
