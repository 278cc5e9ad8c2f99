"""The MAPPO package against its definition (tests/mappo_definition.py), in float64 to 1e-6."""

import itertools

import mappo_definition as definition
import numpy as np
import pytest
import torch

from marl_nb import smac
from marl_nb.mappo import Learner, MAPPOConfig, MAPPOPolicy
from marl_nb.mappo.document import DocumentPolicy
from marl_nb.mappo.inputs import CriticView, actor_input
from marl_nb.mappo.learner import Batches, rollout_values
from marl_nb.mappo.losses import policy_loss, value_loss
from marl_nb.mappo.networks import PerAgent, masked_log_softmax
from marl_nb.mappo.returns import gae
from marl_nb.mappo.training import Trainer
from marl_nb.mappo.value_norm import ValueNorm

T, E, A, OBS, STATE, N, CHUNK = 6, 2, 2, 4, 6, 3, 3
COLUMNS = {"x": [0, 3], "y": [1, 4], "health": [2, 5], "kept": [1, 3]}
KINDS = ("EP", "FP", "AS")
GRID = list(itertools.product((False, True), (True, False), KINDS))
GRID_IDS = [f"{'gru' if r else 'mlp'}-{'shared' if s else 'own'}-{k}" for r, s, k in GRID]


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: one thread of torch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def double(monkeypatch):
    """The learner casts what comes out of mixed precision to float32; here it stays in float64."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def make_policy(**options) -> MAPPOPolicy:
    """A tiny policy in float64, with weights that are not at their special initial values."""
    defaults = dict(hidden_size=4, chunk_length=CHUNK, rollout_steps=T, epochs=2, policy_gain=1.0, actor_lr=0.01,
                    critic_lr=0.02, gamma=0.9, gae_lambda=0.8)
    policy = MAPPOPolicy(MAPPOConfig(**defaults | options), A, OBS, STATE, N, COLUMNS)
    generator = torch.Generator().manual_seed(1)
    for net in (policy.actor, policy.critic):
        net.double()
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return policy


def make_rollout(policy: MAPPOPolicy, seed=0):
    """A rollout of random numbers in float64 with deaths, ends, and a time limit in the middle of a chunk."""
    rollout, rng = policy.rollout(T, E), np.random.default_rng(seed)
    for i, (name, x) in enumerate(vars(rollout).items()):
        if isinstance(x, torch.Tensor) and x.is_floating_point():
            numbers = np.random.default_rng([seed, i]).standard_normal(tuple(x.shape))
            setattr(rollout, name, torch.from_numpy(numbers))
    rollout.available_actions[:] = torch.from_numpy(rng.random((T, E, A, N)) < 0.6)
    rollout.available_actions[..., 0] = True
    weights = rng.random((T, E, A, N)) * rollout.available_actions.numpy()
    rollout.actions[:] = torch.from_numpy(weights.argmax(-1))
    rollout.alive[:] = torch.from_numpy((rng.random((T, E, A)) < 0.7) * 1.0)
    rollout.alive[..., 0] = 1
    rollout.terminated[1, 0] = rollout.truncated[3, 1] = rollout.truncated[5, 0] = True
    rollout.first[1:] = rollout.terminated | rollout.truncated
    rollout.first[0, 1] = True
    rollout.reward.mul_(3)
    for name in ("reward", "terminated", "truncated", "first"):
        setattr(rollout.np, name, getattr(rollout, name).numpy())
    with torch.no_grad():
        logits = forward(policy, rollout)
        log_probs = masked_log_softmax(logits, rollout.available_actions)
        rollout.log_prob[:] = log_probs.gather(-1, rollout.actions[..., None])[..., 0]
        rollout.log_prob += 0.3 * torch.from_numpy(rng.standard_normal((T, E, A)))  # an older policy's
    return rollout


def forward(policy, rollout):
    """Logits [T, E, A, N] by the definition's networks."""
    r = played(rollout)
    mappo = reading(policy)
    recurrent = policy.config.recurrent
    restart = {i * CHUNK: h for i, h in enumerate(r.actor_hidden)} if recurrent else None
    start = r.actor_hidden[0] if recurrent else None
    return torch.from_numpy(mappo.per_column(mappo.actors, r.actor_input, r.first[:-1], start, restart)[0])


def weights(net) -> list[dict[str, np.ndarray]]:
    """Copies of the arrays of one or A networks."""
    nets = net.networks if isinstance(net, PerAgent) else [net]
    return [{k: v.detach().numpy().copy() for k, v in n.named_parameters()} for n in nets]


def reading(policy) -> definition.MAPPO:
    """The definition with the policy's weights."""
    return definition.MAPPO(weights(policy.actor), weights(policy.critic), vars(policy.config), policy.per_agent)


def played(rollout) -> definition.Played:
    """The rollout as plain arrays."""
    names = ("actor_input", "available_actions", "alive", "actions", "log_prob", "critic_input", "final", "first",
             "reward", "terminated", "truncated", "actor_hidden")
    arrays = {k: getattr(rollout, k).numpy().copy() for k in names}
    return definition.Played(**arrays, critic_hidden=rollout.critic_hidden[0].numpy().copy(), chunk=CHUNK)


def assert_same_update(policy, learner=None):
    """Losses, weights and statistics after the package's update and after the definition's."""
    rollout, learner = make_rollout(policy), learner or Learner(policy)
    mappo, r = reading(policy), played(rollout)
    want, got = mappo.update(r), learner.update(rollout)
    for name, value in want.items():
        assert got[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
    for mine, net in ((mappo.actors, policy.actor), (mappo.critics, policy.critic)):
        for theirs, w in zip(weights(net), mine, strict=True):
            for k, v in w.items():
                np.testing.assert_allclose(theirs[k], v, rtol=0, atol=1e-6, err_msg=k)
    if policy.config.value_norm != "none":
        np.testing.assert_allclose((policy.value_norm.mean, policy.value_norm.std), mappo.moments, rtol=1e-9)


@pytest.mark.parametrize(("recurrent", "shared", "kind"), GRID, ids=GRID_IDS)
def test_a_whole_update(double, recurrent, shared, kind):
    """Two epochs: values, advantages, losses, gradients, norms, Adam, statistics."""
    assert_same_update(make_policy(recurrent=recurrent, share_actor=shared, share_critic=shared, state=kind))


@pytest.mark.parametrize("options", [
    {"critic_per_agent": True}, {"value_active_masks": True}, {"value_active_masks": True, "state": "AS"},
    {"value_norm": "popart"}, {"value_norm": "popart", "recurrent": True, "share_critic": False},
    {"value_norm": "none"}, {"clip_value": False}, {"huber_delta": 0.2}, {"max_grad_norm": 0.05},
    {"normalise_advantages": False}, {"feature_norm": False}, {"hidden_layers": 2}, {"timeout": "terminal"},
    {"timeout": "drop"}, {"value_norm_decay": 0.5}, {"entropy_coefficient": 0.5}, {"accumulate": 2},
    {"accumulate": 2, "recurrent": True}, {"epochs": 4}], ids=str)
def test_every_option(double, options):
    """The same for one option at a time."""
    assert_same_update(make_policy(**options))


@pytest.mark.parametrize(("recurrent", "kind"), [*itertools.product((False, True), KINDS)])
def test_values_returns_and_advantages(recurrent, kind):
    """The learner's sweep over the rollout, before any step."""
    policy = make_policy(recurrent=recurrent, state=kind)
    rollout = make_rollout(policy)
    value, returns, advantage, chunks = reading(policy).prepare(played(rollout))
    got, batches = rollout_values(policy, rollout)[0].numpy(), Batches(policy, rollout).whole
    np.testing.assert_allclose(got.reshape(value.shape), value, atol=1e-9)
    np.testing.assert_allclose(batches.returns.numpy().reshape(returns.shape), returns, atol=1e-9)
    np.testing.assert_allclose(batches.advantage.numpy().reshape(advantage.shape), advantage, atol=1e-9)
    if recurrent:  # an episode's first time step drops the state, which the package does before storing it
        for t, h in list(chunks.items())[1:]:
            want = np.where(rollout.first[t].numpy()[:, None, None], 0, h)
            np.testing.assert_allclose(rollout.critic_hidden[t // CHUNK].numpy().reshape(want.shape), want, atol=1e-9)


@pytest.mark.parametrize("timeout", ["bootstrap", "terminal", "drop"])
def test_gae_with_ends_everywhere(timeout):
    """Random ends, three conventions for time limits."""
    rng = np.random.default_rng(3)
    reward, final, value = rng.standard_normal((20, 4)), rng.standard_normal((20, 4)), rng.standard_normal((21, 4))
    terminated, truncated = rng.random((2, 20, 4)) < 0.15
    got = gae(reward, value, terminated, truncated, final, 0.97, 0.9, timeout)
    for e in range(4):
        want = definition.gae(reward[:, e], value[:, e], terminated[:, e], truncated[:, e], final[:, e], 0.97, 0.9,
                              timeout)
        np.testing.assert_allclose([x[:, e] for x in got], want, atol=1e-12)


def test_losses_on_random_numbers():
    """Ratios and values far outside the clip range, errors on both sides of Huber's delta."""
    rng = np.random.default_rng(4)
    new, old, advantage, value, was, target = rng.standard_normal((6, 300)) * 3
    alive = (rng.random(300) < 0.6) * 1.0
    tensors = [torch.from_numpy(x) for x in (new / 5, old / 5, advantage, alive)]
    assert policy_loss(*tensors, 0.2)[0].item() == pytest.approx(
        definition.policy_loss(new / 5, old / 5, advantage, alive, 0.2), abs=1e-12)
    for clip, weight in itertools.product((0.2, None), (alive, np.ones(300))):
        got = value_loss(*(torch.from_numpy(x) for x in (value, was, target)), clip, 1.5, torch.from_numpy(weight))
        assert got.item() == pytest.approx(definition.value_loss(value, was, target, weight, clip, 1.5), abs=1e-12)


def test_value_norm_remembers_as_defined():
    """Mean and spread after every one of many updates, from the weights of the whole history."""
    rng, norm, want = np.random.default_rng(5), ValueNorm(0.9), definition.RunningNorm(0.9)
    assert (norm.mean, norm.std) == pytest.approx(want.moments)
    for _ in range(30):
        x = rng.normal(rng.normal(0, 5), rng.random() * 3, 50)
        norm.update(torch.from_numpy(x))
        want.update(x)
        assert (norm.mean, norm.std) == pytest.approx(want.moments, rel=1e-9)


@pytest.mark.parametrize("kind", ["EP", "FP", "AS", "CL", "local"])
@pytest.mark.parametrize(("agent_id", "death_mask"), [*itertools.product((True, False), repeat=2)])
def test_critic_inputs(kind, agent_id, death_mask):
    """Every representation, entry by entry."""
    rng = np.random.default_rng(6)
    state, obs = rng.standard_normal((E, STATE)).astype("f4"), rng.standard_normal((E, A, OBS)).astype("f4")
    alive = np.array([[True, True], [True, False]])
    view = CriticView(kind, A, OBS, STATE, agent_id, death_mask, columns=COLUMNS)
    got = view(state, obs, alive, np.ones(E, bool), np.zeros((E, *view.shape), "f4"))
    for e in range(E):
        want = definition.critic_inputs(kind, state[e], obs[e], alive[e], COLUMNS, agent_id, death_mask)
        np.testing.assert_allclose(got[e], want, atol=1e-6)


def test_actor_input():
    """Observation, last action, number."""
    obs, last = np.arange(E * A * OBS, dtype="f4").reshape(E, A, OBS), np.array([[-1, -1], [2, 0]])
    want = [[[*obs[e, a], *(float(last[e, a] == n) for n in range(N)), *(float(a == b) for b in range(A))]
             for a in range(A)] for e in range(E)]
    np.testing.assert_array_equal(actor_input(obs, last, N), want)


@pytest.mark.parametrize("recurrent", [False, True])
def test_acting_is_the_definition_step_by_step(recurrent):
    """Probabilities of a policy in battles (float32, hence 1e-5), hidden states and last actions carried along."""
    env = smac.make("3m", n_envs=2, threads=1)
    step = env.reset(0)
    policy = MAPPOPolicy.for_step(MAPPOConfig(hidden_size=8, policy_gain=1.0, recurrent=recurrent), step)
    (w,) = weights(policy.actor)
    w = {k: v.astype(float) for k, v in w.items()}
    memory, hidden, last = policy.initial_memory(2), np.zeros((6, 8)), np.full((2, 3), -1)
    ends = 0
    for t in range(80):
        hidden[np.repeat(step.done, 3)], last[step.done] = 0, -1
        x = [[[*step.obs[e, a], *np.eye(9)[last[e, a]] * (last[e, a] >= 0), *np.eye(3)[a]] for a in range(3)]
             for e in range(2)]
        logits, hidden = definition.network(w, np.array(x, float).reshape(6, -1), hidden if recurrent else None)
        hidden = np.zeros((6, 8)) if hidden is None else hidden
        want = np.exp(definition.log_softmax(logits.reshape(2, 3, 9), step.available_actions))
        action = policy.act(step, memory, np.arange(2, dtype=np.uint64) + np.uint64(2 * t))
        np.testing.assert_allclose(action.probs, want, atol=1e-5)
        memory, last = action.memory, action.actions.copy()
        step = env.step(action.actions)
        ends += step.done.sum()
    assert ends


@pytest.mark.parametrize(("recurrent", "shared", "kind"), GRID, ids=GRID_IDS)
def test_ratio_is_1_before_the_first_step(recurrent, shared, kind):
    """In battles with deaths and ends of episodes, in the first and in the second rollout."""
    config = MAPPOConfig(recurrent=recurrent, share_actor=shared, share_critic=shared, state=kind, hidden_size=16,
                         rollout_steps=32, epochs=2, minibatches=2, policy_gain=1.0)
    trainer = Trainer(config, smac.make("3m", n_envs=4, threads=1))
    assert max(trainer.iterate()["ratio_0"] for _ in range(2)) < 1e-6
    assert (trainer.algorithm.rollout.alive == 0).any() and trainer.algorithm.rollout.first[1:-1].any()


@pytest.mark.parametrize(("recurrent", "masks"), [*itertools.product((False, True), repeat=2)])
def test_once_per_environment_is_exact(double, recurrent, masks):
    """Gradients, losses, statistics and networks after four epochs: one value against A copies of it."""
    out, start = [], torch.zeros(0)
    for each in (False, True):
        policy = make_policy(recurrent=recurrent, critic_per_agent=each, epochs=4, value_active_masks=masks)
        rollout = make_rollout(policy)
        if each:  # the same start for all agents
            rollout.critic_hidden[:] = start.unsqueeze(2)
        start = rollout.critic_hidden.clone()
        losses = Learner(policy).update(rollout)
        gradient = torch.cat([p.grad.flatten() for p in policy.critic.parameters()])
        out.append((losses, gradient, policy.arrays()))
    (losses, gradient, arrays), (copies, same, others) = out
    assert losses == pytest.approx(copies, abs=1e-9)
    assert (gradient - same).abs().max() < 1e-9 < gradient.abs().max()
    for k, v in arrays.items():
        np.testing.assert_allclose(others[k], v, atol=1e-9, err_msg=k)


@pytest.mark.parametrize(("recurrent", "kind"), list(itertools.product((False, True), KINDS)))
def test_the_documents_methods(recurrent, kind):
    """Both methods in flattened layouts, with resets in the middle and hidden states to start from."""
    policy, S = make_policy(recurrent=recurrent, state=kind), 5
    rng, mappo, document = np.random.default_rng(7), reading(policy), DocumentPolicy(policy)
    obs = rng.standard_normal((S, E, A, policy.actor_size))
    state = rng.standard_normal((S, E, 1 if kind == "EP" else A, policy.view.size))
    masks = (rng.random((S, E)) < 0.7) * 1.0
    h0 = [rng.standard_normal((E, k, 4)) if recurrent else None for k in (A, state.shape[2])]
    logits, _ = mappo.per_column(mappo.actors, obs, masks == 0, h0[0])
    values, states = mappo.per_column(mappo.critics, state, masks == 0, h0[1])
    available_actions = rng.random((S, E, A, N)) < 0.6
    available_actions[..., 0] = True
    log_probs = definition.log_softmax(logits, available_actions)
    last = N - 1 - available_actions[..., ::-1].argmax(-1)
    actions = np.where(rng.random((S, E, A)) < 0.5, 0, last)
    each = lambda x: np.broadcast_to(x, (*x.shape[:-2], A, x.shape[-1])).reshape(*x.shape[:-3], E * A, x.shape[-1])
    rows = [each(state), each(obs), each(actions[..., None]), each(available_actions)]
    mask_rows = each(masks[..., None, None])
    start = [each(h)[None] for h in h0] if recurrent else [None, None]
    tensors = [torch.tensor(x) for x in [*rows, mask_rows]] + [None if h is None else torch.tensor(h) for h in start]
    with torch.no_grad():
        got = document.evaluate_actions(*tensors)
    want = each(values), each(np.take_along_axis(log_probs, actions[..., None], -1)), each(
        definition.entropy(log_probs)[..., None])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.numpy(), b, atol=1e-9)
    value, hidden = document.get_values(rows[0][0], start[1][0] if recurrent else None, mask_rows[0].copy())
    np.testing.assert_allclose(value, want[0][0], atol=1e-9)
    if recurrent:
        np.testing.assert_allclose(hidden, each(states[0]), atol=1e-9)
