"""A small OccFormer learns two frames by heart."""

import torch
from fake_occformer import occformer_annotations, occformer_inputs, tiny_occformer

from al_lightning.losses import OccFormerLoss


def test_two_samples_are_learned_by_heart():
    network = tiny_occformer()
    for module in network.modules():  # nothing random but the points
        if "DropPath" in type(module).__name__ or isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    criterion = OccFormerLoss([1000.0, 500.0, 100.0, 100.0, 100.0], depth_step=1.0, points=256)
    inputs, annotations = occformer_inputs(), occformer_annotations()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    torch.manual_seed(0)
    history = []
    for _ in range(48):
        losses = criterion(network(inputs), annotations)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 20.0)
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    assert all(history[-1][name] < 0.7 * history[0][name] for name in ("label", "mask", "dice", "depth")), history[-1]
    with torch.no_grad():
        right = network.eval()(inputs).logits.argmax(dim=1) == annotations.semantics
    assert right[annotations.mask].float().mean() > 0.95
