"""MAPPO read from its definition: NumPy in float64, written for clarity, sharing no code with the package.

Networks are dictionaries of arrays under the names in which the package saves them; gradients are finite differences;
advantages are the sum that defines them, not the recursion. Everything is slow and meant for a handful of numbers.
"""

from dataclasses import dataclass

import numpy as np

Weights = dict[str, np.ndarray]


def layer_norm(x, scale=1.0, shift=0.0):
    """Rows of mean 0 and variance 1, scaled and shifted."""
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_cell(w: Weights, x, h):
    """Cho et al. (2014) as cuDNN writes it: reset, update and new gate, in this order."""
    a, b = x @ w["gru.weight_ih"].T + w["gru.bias_ih"], h @ w["gru.weight_hh"].T + w["gru.bias_hh"]
    (ar, az, an), (br, bz, bn) = np.split(a, 3, -1), np.split(b, 3, -1)
    r, z = sigmoid(ar + br), sigmoid(az + bz)
    n = np.tanh(an + r * bn)
    return (1 - z) * n + z * h


def network(w: Weights, x, h=None):
    """Raw input to outputs: LayerNorm, blocks of Linear, ReLU, LayerNorm; a GRU with LayerNorm if any; a head."""
    if "features.scale" in w:
        x = layer_norm(x, w["features.scale"], w["features.shift"])
    for i in range(sum(k.startswith("features.linears") and k.endswith("weight") for k in w)):
        x = x @ w[f"features.linears.{i}.weight"].T + w[f"features.linears.{i}.bias"]
        x = layer_norm(np.maximum(x, 0), w[f"features.norms.{i}.weight"], w[f"features.norms.{i}.bias"])
    if "gru.weight_ih" in w:
        h = gru_cell(w, x, h)
        x = layer_norm(h, w["norm.weight"], w["norm.bias"])
    return x @ w["head.weight"].T + w["head.bias"], h


def unroll(w: Weights, x, first, start, restart=None):
    """Time steps [T, B, D] in order; hidden states are empty where an episode begins.

    `start` [B, H] is the state before the first time step; `restart` {t: [B, H]} replaces it at the chunks. Returns
    outputs [T, B, outputs] and the hidden states after every time step (None without a GRU).
    """
    outputs, states, h = [], [], start
    for t in range(len(x)):
        if restart and t in restart:
            h = restart[t]
        if h is not None:
            h = np.where(first[t][:, None], 0.0, h)
        y, h = network(w, x[t], h)
        outputs.append(y)
        states.append(h)
    return np.array(outputs), None if h is None else np.array(states)


def log_softmax(logits, available_actions):
    """Log-probabilities; -inf where an action is not available."""
    masked = np.where(available_actions, logits, -np.inf)
    top = masked.max(-1, keepdims=True)
    return masked - top - np.log(np.exp(masked - top).sum(-1, keepdims=True))


def entropy(log_probs):
    p = np.exp(log_probs)
    return -(p * np.where(p > 0, log_probs, 0)).sum(-1)


def huber(error, delta):
    size = abs(error)
    return error**2 / 2 if size <= delta else delta * (size - delta / 2)


def policy_loss(log_prob, old, advantage, alive, clip):
    """Minus the mean clipped surrogate over the living; all arguments flat."""
    total = 0.0
    for new, was, a, lives in zip(log_prob, old, advantage, alive, strict=True):
        ratio = np.exp(new - was)
        total += lives * min(ratio * a, min(max(ratio, 1 - clip), 1 + clip) * a)
    return -total / sum(alive)


def value_loss(value, old, target, weight, clip, delta):
    """Weighted mean of the larger of the plain and the clipped Huber loss; all arguments flat."""
    total = 0.0
    for v, was, y, w in zip(value, old, target, weight, strict=True):
        loss = huber(v - y, delta)
        if clip is not None:
            loss = max(loss, huber(was + min(max(v - was, -clip), clip) - y, delta))
        total += w * loss
    return total / sum(weight)


def gae(reward, value, terminated, truncated, final_value, gamma, lam, timeout):
    """Advantages of one lane as the sum over later errors of the same episode."""
    T = len(reward)
    delta = np.zeros(T)
    for t in range(T):
        following = value[t + 1]
        if terminated[t]:
            following = 0.0
        elif truncated[t]:
            following = {"bootstrap": final_value[t], "terminal": 0.0, "drop": None}[timeout]
        delta[t] = 0.0 if following is None else reward[t] + gamma * following - value[t]
    advantage = np.zeros(T)
    for t in range(T):
        for k in range(t, T):
            advantage[t] += (gamma * lam) ** (k - t) * delta[k]
            if terminated[k] or truncated[k]:
                break
    return advantage, advantage + np.asarray(value)[:T]


def standardised(advantage, alive):
    """Mean 0 and population spread 1 over the living."""
    living = advantage[alive > 0]
    return (advantage - living.mean()) / (living.std() + 1e-5)


class RunningNorm:
    """Debiased running mean and spread (beta per update)."""

    def __init__(self, beta):
        self.beta, self.history = beta, []

    def update(self, x):
        self.history.append((np.mean(x), np.mean(np.square(x))))

    @property
    def moments(self):
        if not self.history:
            return 0.0, 0.1
        n = len(self.history)
        weight = (1 - self.beta) * self.beta ** np.arange(n - 1, -1, -1)
        mean, square = (np.dot(weight, column) / max(weight.sum(), 1e-5) for column in zip(*self.history, strict=True))
        return mean, np.sqrt(max(square - mean**2, 1e-2))


def gradient(loss, w: Weights, step=1e-6) -> Weights:
    """Central differences of `loss(w)`."""
    out = {k: np.zeros_like(v) for k, v in w.items()}
    for k, v in w.items():
        for i in np.ndindex(v.shape):
            kept = v[i]
            v[i] = kept + step
            up = loss(w)
            v[i] = kept - step
            out[k][i] = (up - loss(w)) / (2 * step)
            v[i] = kept
    return out


class Adam:
    """Kingma and Ba (2015), after scaling the gradient of all arrays together down to a largest norm."""

    def __init__(self, lr, eps, max_norm):
        self.lr, self.eps, self.max_norm, self.t = lr, eps, max_norm, 0
        self.m, self.v = {}, {}

    def step(self, weights: Weights, gradients: Weights):
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        share = min(1.0, self.max_norm / (norm + 1e-6))
        self.t += 1
        for k, g in gradients.items():
            g = g * share
            self.m[k] = 0.9 * self.m.get(k, 0) + 0.1 * g
            self.v[k] = 0.999 * self.v.get(k, 0) + 0.001 * g**2
            m, v = self.m[k] / (1 - 0.9**self.t), self.v[k] / (1 - 0.999**self.t)
            weights[k] -= self.lr * m / (np.sqrt(v) + self.eps)
        return norm


@dataclass
class Played:
    """A rollout; every array in float64, [T, E, A, ...] or [T, E, ...]."""

    actor_input: np.ndarray
    available_actions: np.ndarray
    alive: np.ndarray
    actions: np.ndarray
    log_prob: np.ndarray
    critic_input: np.ndarray  # [T + 1, E, C] or [T + 1, E, A, C]
    final: np.ndarray  # critic's input where truncated
    first: np.ndarray  # [T + 1, E]
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    actor_hidden: np.ndarray  # [T / L, E, A, H]
    critic_hidden: np.ndarray  # [E, H] or [E, A, H] before the first time step
    chunk: int


class MAPPO:
    """One or A actors, one or A critics, and the update of the reference (one minibatch an epoch)."""

    def __init__(self, actors: list[Weights], critics: list[Weights], options: dict, per_agent: bool):
        self.actors, self.critics, self.options, self.per_agent = actors, critics, options, per_agent
        self.norm = RunningNorm(options["value_norm_decay"])
        make = lambda lr: Adam(lr, options["adam_eps"], options["max_grad_norm"])
        self.adams = make(options["actor_lr"]), make(options["critic_lr"])

    @property
    def moments(self):
        return (0.0, 1.0) if self.options["value_norm"] == "none" else self.norm.moments

    def critic_inputs(self, x, A):
        """Inputs [T, E, K, C] for K values a time step: one, or one per agent."""
        if self.per_agent:
            return x if x.ndim == 4 else np.repeat(x[:, :, None], A, 2)
        return x[:, :, None]

    def per_column(self, nets, x, first, start, restart=None):
        """Networks along axis 2 of x [T, E, K, D]; one network serves all columns, or every column has its own."""
        outputs, states = zip(*[unroll(
            nets[k if len(nets) > 1 else 0], x[:, :, k], first, None if start is None else start[:, k],
            None if restart is None else {t: h[:, k] for t, h in restart.items()}) for k in range(x.shape[2])],
            strict=True)
        return np.stack(outputs, 2), None if states[0] is None else np.stack(states, 2)

    def prepare(self, r: Played):
        """Values, returns, standardised advantages, and the critic's hidden states at the chunks."""
        o, (T, E, A) = self.options, r.alive.shape
        mean, std = self.moments
        recurrent = "gru.weight_ih" in self.critics[0]
        x = self.critic_inputs(r.critic_input, A)
        K = x.shape[2]
        start = r.critic_hidden.reshape(E, K, -1) if recurrent else None
        value, states = self.per_column(self.critics, x, r.first, start)
        value, final = value[..., 0], np.zeros((T, E, K))
        ends = self.critic_inputs(r.final, A)
        for t, e in zip(*np.nonzero(r.truncated), strict=True):
            for k in range(K):
                w = self.critics[k if len(self.critics) > 1 else 0]
                h = states[t, e, k][None] if recurrent else None
                final[t, e, k] = network(w, ends[t, e, k][None], h)[0][0, 0]
        advantage, returns = np.zeros((T, E, K)), np.zeros((T, E, K))
        for e in range(E):
            for k in range(K):
                advantage[:, e, k], returns[:, e, k] = gae(
                    r.reward[:, e], value[:, e, k] * std + mean, r.terminated[:, e], r.truncated[:, e],
                    final[:, e, k] * std + mean, o["gamma"], o["gae_lambda"], o["timeout"])
        each = np.broadcast_to(advantage, (T, E, A))
        if o["normalise_advantages"]:
            each = standardised(each, r.alive)
        chunks = {t: start if t == 0 else states[t - 1] for t in range(0, T, r.chunk)} if recurrent else None
        return value, returns, each, chunks

    def actor_loss(self, r: Played, advantage):
        """Loss of the actors as they are, and its parts."""
        o = self.options
        recurrent = "gru.weight_ih" in self.actors[0]
        restart = {i * r.chunk: h for i, h in enumerate(r.actor_hidden)} if recurrent else None
        start = r.actor_hidden[0] if recurrent else None
        logits, _ = self.per_column(self.actors, r.actor_input, r.first[:-1], start, restart)
        log_probs = log_softmax(logits, r.available_actions)
        log_prob = np.take_along_axis(log_probs, r.actions[..., None], -1)[..., 0]
        loss = policy_loss(log_prob.ravel(), r.log_prob.ravel(), advantage.ravel(), r.alive.ravel(), o["clip"])
        spread = (entropy(log_probs) * r.alive).sum() / r.alive.sum()
        return loss - o["entropy_coefficient"] * spread, loss, spread

    def critic_loss(self, r: Played, old, returns, chunks):
        """Loss of the critics as they are."""
        o, A = self.options, r.alive.shape[2]
        mean, std = self.moments
        x = self.critic_inputs(r.critic_input[:-1], A)
        value, _ = self.per_column(self.critics, x, r.first[:-1], None if chunks is None else chunks[0], chunks)
        weight = np.ones(old.shape)
        if o["value_active_masks"]:
            weight = r.alive if self.per_agent else r.alive.sum(-1, keepdims=True)
        clip = o["clip"] if o["clip_value"] else None
        return value_loss(value.ravel(), old.ravel(), ((returns - mean) / std).ravel(), weight.ravel(), clip,
                          o["huber_delta"])

    def descend(self, nets, adam, loss):
        """One step of all networks of a kind together."""
        joint = {(i, k): v for i, net in enumerate(nets) for k, v in net.items()}
        return adam.step(joint, gradient(lambda _: loss(), joint))

    def update(self, r: Played) -> dict[str, float]:
        """All epochs; the means of the losses over them."""
        o, rows = self.options, []
        values, returns, advantage, chunks = self.prepare(r)
        old = values[:-1]
        for _ in range(o["epochs"]):
            mean, std = self.moments
            self.norm.update(returns)
            if o["value_norm"] == "popart":
                new_mean, new_std = self.moments
                for w in self.critics:
                    w["head.weight"] *= std / new_std
                    w["head.bias"][:] = (w["head.bias"] * std + mean - new_mean) / new_std
                old = (old * std + mean - new_mean) / new_std
            actor = self.actor_loss(r, advantage)
            row = {"policy_loss": actor[1], "entropy": actor[2]}
            row["value_loss"] = self.critic_loss(r, old, returns, chunks)
            row["actor_grad_norm"] = self.descend(self.actors, self.adams[0], lambda: self.actor_loss(r, advantage)[0])
            row["critic_grad_norm"] = self.descend(
                self.critics, self.adams[1], lambda old=old: self.critic_loss(r, old, returns, chunks))
            rows.append(row)
        return {k: float(np.mean([row[k] for row in rows])) for k in rows[0]}


def critic_inputs(kind, state, obs, alive, columns=None, agent_id=True, death_mask=True):
    """One time step of one environment: what the critic sees, [C] or one row per agent."""
    A = len(obs)
    if kind == "EP":
        return state
    if kind == "CL":
        return np.concatenate(list(obs))
    rows = []
    for a in range(A):
        own = {"AS": lambda a=a: [*state, *obs[a]], "local": lambda a=a: [*obs[a]],
               "FP": lambda a=a: pruned(state, obs[a], a, columns)}[kind]()
        if death_mask and not alive[a]:
            own = [0.0] * len(own)
        rows.append(own + [float(a == b) for b in range(A) if agent_id])
    return np.array(rows)


def pruned(state, obs, a, columns):
    """The state, the offset and distance to every living unit, and the kept features of the observation."""
    x, y, health = (state[columns[k]] for k in ("x", "y", "health"))
    dx, dy, far = [], [], []
    for i in range(len(x)):
        lives = health[i] > 0
        dx.append(x[i] - x[a] if lives else 0.0)
        dy.append(y[i] - y[a] if lives else 0.0)
        far.append(np.sqrt(dx[-1] ** 2 + dy[-1] ** 2))
    return [*state, *dx, *dy, *far, *obs[columns["kept"]]]
