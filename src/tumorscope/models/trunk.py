"""Cut a partly frozen network in two: a trunk that is a fixed function, and the tail that training changes.

In: a network with `requires_grad` set. Out: a `CutNetwork`, whose two halves share the network's own modules, or the
reason why it cannot be cut. Whatever depends on no trainable parameter and draws no random number belongs to the
trunk, so with a frozen backbone pooling does too, and one short vector is left for each image.

The cut is found in the graph that `torch.fx` records, once in training and once in evaluation mode, because a
network may draw dropout by a function whose mode the graph keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

RANDOM_FUNCTIONS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "drop_path", "bernoulli")
RANDOM_MODULES = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "DropPath", "DropBlock2d")


class _Tracer(fx.Tracer):
    """Records calls of modules without children; only containers are looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """True for a module that holds no other."""
        # a norm with a fused activation holds modules, and reads its own state in ways a graph cannot
        return not any(m.children()) or isinstance(m, nn.modules.batchnorm._BatchNorm)


@dataclass(frozen=True)
class CutNetwork:
    """A network in two halves.

    Attributes:
        network: The whole; its modules and parameters are those of the halves.
        trunk: (B, C, S, S) images to the activations at the cut; a fixed function in evaluation mode.
        boundary: Name of the graph node at the cut.
    """

    network: nn.Module
    trunk: nn.Module
    boundary: str
    _train_tail: nn.Module
    _eval_tail: nn.Module

    def tail(self, activations: Tensor) -> Tensor:
        """(B, outputs) logits from activations, in the mode the network is in."""
        half = self._train_tail if self.network.training else self._eval_tail
        logits: Tensor = half(activations)
        return logits


def cut(network: nn.Module) -> CutNetwork | str:
    """Cut `network` where its trainable part begins, or say why not.

    The network is left in the mode it was in; it is traced with frozen norms in evaluation mode.
    """
    mode = network.training
    try:
        graphs = {}
        for training in (True, False):
            network.train(training)
            graphs[training] = _Tracer().trace(network)
        boundaries = {training: _boundary(network, graph) for training, graph in graphs.items()}
    except Exception as error:
        return f"its graph cannot be recorded ({type(error).__name__})"
    finally:
        network.train(mode)
    names = {training: [node.name for node in nodes] for training, nodes in boundaries.items()}
    if names[True] != names[False] or len(names[True]) != 1:
        return f"{len(names[True])} tensors cross from its frozen to its trainable part, not one"
    (boundary,) = boundaries[False]
    if boundary.op == "placeholder":
        return "nothing of it is frozen"
    return CutNetwork(
        network=network,
        trunk=_trunk(network, graphs[False], boundary),
        boundary=boundary.name,
        _train_tail=_tail(network, graphs[True], boundaries[True][0]),
        _eval_tail=_tail(network, graphs[False], boundary),
    )


def _boundary(network: nn.Module, graph: fx.Graph) -> list[fx.Node]:
    """Nodes of the fixed part whose value a node outside it uses, in order."""
    fixed: dict[fx.Node, bool] = {}
    for node in graph.nodes:
        if node.op == "output":
            fixed[node] = False
        else:
            fixed[node] = all(fixed[n] for n in node.all_input_nodes) and not _varies(network, node)
    crossing = [n for n in graph.nodes if fixed[n] and any(not fixed[user] for user in n.users)]
    # weights are at hand on both sides, and so are arguments that keep their default value
    return [n for n in crossing if n.op != "get_attr" and not (n.op == "placeholder" and n.args)]


def _varies(network: nn.Module, node: fx.Node) -> bool:
    """True if the node's own work changes from step to step: by training or by chance."""
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        chance = type(module).__name__ in RANDOM_MODULES and getattr(module, "p", getattr(module, "drop_prob", 1)) != 0
        return chance or any(p.requires_grad for p in module.parameters())
    if node.op == "get_attr":
        value: Any = network
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return isinstance(value, Tensor) and value.requires_grad
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.rstrip("_") in RANDOM_FUNCTIONS


def _leading_to(end: fx.Node, start: fx.Node | None) -> set[fx.Node]:
    """Nodes that `end` needs, itself included; what stands before `start` is not followed."""
    found: set[fx.Node] = set()
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [] if node is start else node.all_input_nodes
    return found


def _trunk(network: nn.Module, graph: fx.Graph, boundary: fx.Node) -> nn.Module:
    """The part of `graph` that leads to `boundary`."""
    half = fx.Graph()
    values: dict[fx.Node, fx.Node] = {}
    needed = _leading_to(boundary, None)
    for node in graph.nodes:
        if node in needed or node.op == "placeholder":
            values[node] = half.node_copy(node, lambda n: values[n])
    half.output(values[boundary])
    return fx.GraphModule(network, half)


def _tail(network: nn.Module, graph: fx.Graph, boundary: fx.Node) -> nn.Module:
    """The part of `graph` that starts from `boundary`."""
    half = fx.Graph()
    values = {boundary: half.placeholder("activations")}
    needed = _leading_to(next(n for n in graph.nodes if n.op == "output"), boundary)
    for node in graph.nodes:
        if node in needed and node is not boundary:
            values[node] = half.node_copy(node, lambda n: values[n])
    return fx.GraphModule(network, half)


@torch.no_grad()
def trunk_of(cut_network: CutNetwork, images: Tensor) -> Tensor:
    """Activations of (B, C, S, S) images at the cut; the network is left in evaluation mode."""
    cut_network.network.eval()
    activations: Tensor = cut_network.trunk(images)
    return activations
