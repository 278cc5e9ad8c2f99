"""The rules of the grid and equations 1 to 9, written plainly and slowly, sharing no code with marl_nb.induction."""

import itertools
import math
from fractions import Fraction

EAST_SOUTH_WEST_NORTH = ((1, 0), (0, 1), (-1, 0), (0, -1))


class Grid:
    """The grid world; a state is (agents, mobile objects, doors) in the form of a decoded state without its step."""

    def __init__(self, text, actions=("still", "left", "right", "forward"), pushers="e", orientations=None):
        cells = {(x, y): c for y, row in enumerate(text.strip().splitlines()) for x, c in enumerate(row.split())}
        self.cells, self.actions = cells, actions
        order = sorted(cells, key=lambda p: (p[1], p[0]))
        self.walls = {p for p in cells if cells[p][0] == "W"}
        self.switches = {p: cells[p][1] for p in cells if cells[p][0] == "S"}
        people = [p for p in order if cells[p][0] == "A"]
        self.pushes = [cells[p][1] in pushers for p in people]
        self.n_agents = len(people)
        agents = tuple((*p, d, None) for p, d in zip(people, orientations or [0] * len(people), strict=True))
        rocks = [("rock", *p) for p in order if cells[p] == "Ro"]
        blocks = [("block", *p) for p in order if cells[p] == "Bl"]
        keys = [("key", cells[p][1], *p) for p in order if cells[p][0] == "K"]
        kinds = {"D": "closed", "O": "open", "L": "locked"}
        doors = tuple(("door", cells[p][1], *p, kinds[cells[p][0]]) for p in order if cells[p][0] in "DOL")
        self.start = (agents, self.tidy([*rocks, *blocks, *keys]), doors)

    def wall(self, p):
        return p not in self.cells or p in self.walls

    def ahead(self, agent, p=None):
        dx, dy = EAST_SOUTH_WEST_NORTH[agent[2]]
        x, y = p or agent[:2]
        return x + dx, y + dy

    def closed(self, state, p):
        return (self.wall(p) or any(d[2:4] == p and d[4] != "open" for d in state[2])
                or any(o[0] == "key" and o[2:] == p for o in state[1]))

    def row(self, state, a):
        """The pushable things ahead of an agent, nearest first, and the cell behind them."""
        things = {o[1:]: o for o in state[1] if o[0] in ("rock", "block")}
        p, found = self.ahead(state[0][a]), []
        while p in things:
            found.append(things[p])
            p = self.ahead(state[0][a], p)
        return found, p

    def can(self, state, start, a):
        """Whether an agent can step forward now, given who stood where at the beginning of the step."""
        found, last = self.row(state, a)
        if any(o[0] == "rock" for o in found) and not self.pushes[a]: return False
        if self.closed(state, last): return False
        return all(last not in (now[:2], then[:2])
                   for i, (now, then) in enumerate(zip(state[0], start, strict=True)) if i != a)

    def flip(self, state, colour):
        agents, mobile, doors = state
        taken = {p[:2] for p in agents} | {o[1:] for o in mobile if o[0] != "key"}
        change = {"open": "closed", "closed": "open", "locked": "open"}
        flips = [d[1] == colour and d[2:4] not in taken for d in doors]
        return agents, mobile, tuple((*d[:4], change[d[4]]) if f else d for d, f in zip(doors, flips, strict=True))

    def turn(self, state, start, a, action):
        """The state after one agent did what it wanted, if it could."""
        agents, mobile, doors = state
        me = agents[a]
        put = lambda new: (*agents[:a], new, *agents[a + 1 :])
        if action in ("left", "right"):
            return put((*me[:2], (me[2] + (1 if action == "right" else -1)) % 4, me[3])), mobile, doors
        cell = self.ahead(me)
        if action == "forward" and self.can(state, start, a):
            found, _ = self.row(state, a)
            moved = [(o[0], *self.ahead(me, o[1:])) if o in found else o for o in mobile]
            state = put((*cell, *me[2:])), self.tidy(moved), doors
            return self.flip(state, self.switches[cell]) if cell in self.switches else state
        if action == "pickup" and me[3] is None:
            for i, o in enumerate(mobile):
                if o[0] == "key" and o[2:] == cell: return put((*me[:3], o[1])), (*mobile[:i], *mobile[i + 1 :]), doors
        if action == "drop" and me[3] is not None:
            taken = {p[:2] for p in agents} | {p[:2] for p in start} | {o[-2:] for o in mobile}
            taken |= {d[2:4] for d in doors} | set(self.switches)
            if not self.wall(cell) and cell not in taken:
                return put((*me[:3], None)), self.tidy([*mobile, ("key", me[3], *cell)]), doors
        if action == "toggle":
            if cell in self.switches: return self.flip(state, self.switches[cell])
            taken = {p[:2] for p in agents} | {o[1:] for o in mobile if o[0] != "key"}
            new = []
            for d in doors:
                works = d[2:4] == cell and cell not in taken and (d[4] != "locked" or me[3] == d[1])
                new.append((*d[:4], "closed" if d[4] == "open" else "open") if works else d)
            return agents, mobile, tuple(new)
        return state

    def tidy(self, mobile):
        """Like things in reading order, so that a state has one form."""
        reading = lambda o: (o[-1], o[-2])
        kinds = [sorted((o for o in mobile if o[0] == kind), key=reading) for kind in ("rock", "block")]
        return (*kinds[0], *kinds[1], *sorted((o for o in mobile if o[0] == "key"), key=lambda o: (o[1], *reading(o))))

    def outcomes(self, state, profile):
        """{successor: probability} of a tuple of action names."""
        start, claims = state[0], {}
        for a, action in enumerate(profile):
            claim = ("own", a)
            if action == "forward":
                found, last = self.row(state, a)
                if not found: claim = last
                elif self.can(state, start, a): claim = last
            elif action in ("pickup", "drop", "toggle"): claim = self.ahead(start[a])
            claims.setdefault(claim, []).append(a)
        result = {}
        for winners in itertools.product(*claims.values()):
            losers = [a for a in range(self.n_agents) if a not in winners]
            conflict = any(len(block) > 1 for block in claims.values())
            after = state
            for a in ([*winners, *losers] if conflict else range(self.n_agents)):
                after = self.turn(after, start, a, profile[a])
            share = Fraction(1, math.prod(len(block) for block in claims.values()))
            result[after] = result.get(after, 0) + share
        return result


def softmax(beta, q):
    """Probabilities of actions with values q; beta may be infinite, then actions within 1e-6 of the best share."""
    if math.isinf(beta):
        best = [x >= max(q) - 1e-6 for x in q]
        return [b / sum(best) for b in best]
    e = [math.exp(beta * (x - max(q))) for x in q]
    return [x / sum(e) for x in e]


def solve(initial, step, holds, n_agents, n_actions, humans, goals, horizon, *, beta_h=10.0, gamma_h=0.99, nu_h=0.0,
          pi0=None, beliefs=None, robot="worst", idle=0, discount_hit=False, achieved_value=0.0, first_action=False,
          skip_achieved=False, goal_weights="sum", humans_mean=False, reward_factor=False, terminal=-1e-10, beta_r=5.0,
          gamma_r=0.99, zeta=2.0, xi=1.0, eta=1.1):
    """Both phases. step(t, s, actions) -> {s': probability}; holds(goal, s, human); goals and beliefs by human.

    Returns {(t, s): result} with result = dict(v, pi, ve by (human, goal), x by human, ur, vr, pr by robot profile)."""
    robots = [a for a in range(n_agents) if a not in humans]
    acts = range(n_actions)
    pi0 = pi0 or [1 / n_actions] * n_actions
    beliefs = beliefs or {h: [1 / n_actions] * n_actions for h in humans}
    levels = [set(initial)]
    moves = []
    for t in range(horizon):
        moves.append({s: {p: step(t, s, p) for p in itertools.product(acts, repeat=n_agents)} for s in levels[-1]})
        levels.append({n for by in moves[-1].values() for out in by.values() for n in out})
    columns = [(h, i) for h in humans for i in range(len(goals[h]))]
    nothing = dict.fromkeys(columns, 0.0)
    result = {(horizon, s): {"v": nothing, "ve": nothing, "vr": terminal} for s in levels[-1]}
    for t in reversed(range(horizon)):
        for s in levels[t]:
            result[t, s] = _state(t, s, moves[t][s], result, columns, locals())
    return result


def _profile(n_agents, chosen):
    return tuple(chosen[a] for a in range(n_agents))


def _state(t, s, moves, result, columns, o):
    """One state, equations 1 to 9 in order."""
    humans, robots, acts, goals, holds = o["humans"], o["robots"], o["acts"], o["goals"], o["holds"]
    pick = {"worst": min, "best": max, "uniform": lambda x: sum(x) / len(x)}[o["robot"]]
    hit = o["gamma_h"] if o["discount_hit"] else 1.0
    v, pi = {}, {}
    for h, i in columns:
        goal, others = goals[h][i], [k for k in humans if k != h]
        if holds(goal, s, h):
            v[h, i] = o["achieved_value"]
            idle = 0 if o["first_action"] else o["idle"]
            pi[h, i] = [float(a == idle) for a in acts] if idle is not None else list(o["pi0"])
            continue
        q = []
        for a in acts:
            total = 0.0
            for rest in itertools.product(acts, repeat=len(others)):
                weight = math.prod(o["beliefs"][k][b] for k, b in zip(others, rest, strict=True))
                chosen = {h: a, **dict(zip(others, rest, strict=True))}
                values = []
                for ar in itertools.product(acts, repeat=len(robots)):
                    p = _profile(o["n_agents"], {**chosen, **dict(zip(robots, ar, strict=True))})
                    values.append(sum(
                        float(x) * (hit if holds(goal, n, h) else o["gamma_h"] * result[t + 1, n]["v"][h, i])
                        for n, x in moves[p].items()))
                total += weight * pick(values)
            q.append(total)
        soft = softmax(o["beta_h"], q)
        pi[h, i] = [o["nu_h"] * a + (1 - o["nu_h"]) * b for a, b in zip(o["pi0"], soft, strict=True)]
        v[h, i] = sum(a * b for a, b in zip(pi[h, i], q, strict=True))
    mean = {h: [sum(pi[h, i][a] for i in range(len(goals[h]))) / len(goals[h]) for a in acts] for h in humans}
    robot_profiles = list(itertools.product(acts, repeat=len(robots)))
    qr = {}
    for ar in robot_profiles:
        qr[ar] = 0.0
        for ah in itertools.product(acts, repeat=len(humans)):
            p = _profile(o["n_agents"], {**dict(zip(humans, ah, strict=True)), **dict(zip(robots, ar, strict=True))})
            weight = math.prod(mean[h][a] for h, a in zip(humans, ah, strict=True))
            qr[ar] += o["gamma_r"] * weight * sum(float(x) * result[t + 1, n]["vr"] for n, x in moves[p].items())
    power = {ar: (-qr[ar]) ** -o["beta_r"] for ar in robot_profiles}
    pr = {ar: power[ar] / sum(power.values()) for ar in robot_profiles}
    ve = {}
    for h, i in columns:
        goal, total = goals[h][i], 0.0
        for ah in itertools.product(acts, repeat=len(humans)):
            weight = math.prod(pi[h, i][a] if k == h else mean[k][a] for k, a in zip(humans, ah, strict=True))
            for ar in robot_profiles:
                chosen = {**dict(zip(humans, ah, strict=True)), **dict(zip(robots, ar, strict=True))}
                p = _profile(o["n_agents"], chosen)
                total += weight * pr[ar] * sum(
                    float(x) * (1.0 if holds(goal, n, h) else o["gamma_h"] * result[t + 1, n]["ve"][h, i])
                    for n, x in moves[p].items())
        ve[h, i] = 0.0 if o["skip_achieved"] and holds(goal, s, h) else total
    x = {h: sum(ve[h, i] ** o["zeta"] for i in range(len(goals[h]))) for h in humans}
    if o["goal_weights"] == "mean": x = {h: x[h] / len(goals[h]) for h in humans}
    inner = sum(x[h] ** -o["xi"] for h in humans) / (len(humans) if o["humans_mean"] else 1)
    ur = -(inner ** o["eta"])
    if o["reward_factor"] and o["gamma_r"] < 1: ur *= (1 - o["gamma_r"]) / -math.log(o["gamma_r"])
    vr = ur + sum(pr[ar] * qr[ar] for ar in robot_profiles)
    return {"v": v, "pi": pi, "ve": ve, "x": x, "ur": ur, "vr": vr, "pr": pr}
