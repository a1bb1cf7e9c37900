"""A small driver learns one frame by heart."""

import torch
from fake_driving import driving_annotations, driving_inputs

from al_lightning.losses.vad import VADLoss
from al_lightning.models.vad import commanded_positions, vad_nano


def test_one_sample_is_learned_by_heart():
    torch.manual_seed(0)
    network, criterion = vad_nano(), VADLoss()
    inputs, annotations = driving_inputs(new_scene=True), driving_annotations()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    history = []
    for _ in range(40):
        losses = criterion(network(inputs), annotations, inputs.command)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 35.0)
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()} | {"total": total.item()})
    assert history[-1]["total"] < 0.35 * history[0]["total"]
    for name in ("agent_box", "line_point", "plan", "agent_class", "line_class"):
        assert history[-1][name] < 0.7 * history[0][name], name
    with torch.no_grad():
        driven = commanded_positions(network.eval()(inputs).plan, inputs.command)
    assert (driven - annotations.ego_future.cumsum(dim=1)).norm(dim=-1).mean() < 1.0
