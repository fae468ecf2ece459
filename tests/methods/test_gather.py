"""Two gloo processes: the loss and the parameter gradients equal those of one process on the whole batch."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from nearkin.methods import create
from nearkin.methods.gather import _AllGather, gather
from nearkin.methods.joint import JointEmbedding
from nearkin.methods.vicreg import vicreg_terms


def make() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)).double()
    return net, torch.randn(12, 5).double(), torch.randn(12, 5).double()


def loss_of(net: nn.Module, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
    s, v, c = vicreg_terms(gather(net(x1)), gather(net(x2)))
    return 25 * s + 25 * v + c


RELATIVES = {"barlow": 1e-10, "simclr": 1e-10, "wmse": 1e-10, "lejepa": 1e-6}  # LeJEPA computes in float32
Found = dict[str, tuple[float, list[torch.Tensor]]]


def relatives(net: nn.Module, x1: torch.Tensor, x2: torch.Tensor) -> Found:
    """Loss and gradients of every method with statistics of a batch."""
    found: Found = {}
    for name in RELATIVES:
        method = create(name, {}, (3, 16, 16))
        assert isinstance(method, JointEmbedding)
        net.zero_grad()
        loss, _ = method.views_loss([net(x1), net(x2)], torch.Generator().manual_seed(0))
        loss.backward()
        found[name] = float(loss.detach()), [p.grad.clone() for p in net.parameters() if p.grad is not None]
    return found


def worker(rank: int, world: int, port: int, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    net, x1, x2 = make()
    wrapped = nn.parallel.DistributedDataParallel(net)
    rows = slice(rank * 12 // world, (rank + 1) * 12 // world)
    loss = loss_of(wrapped, x1[rows], x2[rows])
    loss.backward()
    grads = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    others = relatives(wrapped, x1[rows], x2[rows])
    torch.save({"loss": loss.detach(), "grads": grads, "others": others}, f"{out}.{rank}")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.filterwarnings("ignore")
def test_ranks_equal_one_process(tmp_path: Path, world: int) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(worker, args=(world, port, str(tmp_path / "rank")), nprocs=world)
    net, x1, x2 = make()
    loss = loss_of(net, x1, x2)
    loss.backward()
    for rank in range(world):
        got = torch.load(tmp_path / f"rank.{rank}", weights_only=True)
        assert float(got["loss"]) == pytest.approx(float(loss.detach()), abs=1e-10)
        for mine, p in zip(got["grads"], net.parameters(), strict=True):
            torch.testing.assert_close(mine, p.grad, atol=1e-10, rtol=1e-8)
    whole = relatives(*make())
    for rank in range(world):
        got = torch.load(tmp_path / f"rank.{rank}", weights_only=True)["others"]
        for name, close in RELATIVES.items():
            assert got[name][0] == pytest.approx(whole[name][0], abs=close, rel=close)
            for mine, one in zip(got[name][1], whole[name][1], strict=True):
                torch.testing.assert_close(mine, one, atol=close, rtol=100 * close)


def test_backward_leaves_the_incoming_gradient_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autograd may hand one gradient tensor to several functions (the sum of two gathered views); summing over ranks
    in place would then be seen by the other."""
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "all_gather", lambda parts, x: [part.copy_(x) for part in parts])
    monkeypatch.setattr(dist, "all_reduce", lambda grad: grad.mul_(2))  # both ranks have the same gradient
    a, b = (torch.ones(3, 2, requires_grad=True) for _ in range(2))
    weights = torch.ones(6, 2)
    ((_AllGather.apply(a) + _AllGather.apply(b)) * weights).sum().backward()
    assert a.grad is not None and b.grad is not None
    assert a.grad.tolist() == b.grad.tolist() == [[2.0, 2.0]] * 3


def test_one_process_is_the_identity() -> None:
    x = torch.randn(3, 2)
    assert gather(x) is x
