"""The rules of the arena, written plainly and slowly, sharing no code with marl_nb.curriculum but the configuration.

Things are objects with a row and a column, converters put events into a queue, amounts are fractions, and an
observation is looked up cell by cell. Facts: mettagrid's arena of August 2025.
"""

import heapq
from fractions import Fraction
from itertools import count

from marl_nb.core.seeding import child_seed

RESOURCES = ["ore_red", "ore_blue", "ore_green", "battery_red", "battery_blue", "battery_green", "heart", "armor",
             "laser", "blueprint"]
TYPES = {"agent": 0, "wall": 1, "block": 2, "mine": 3, "generator": 4, "altar": 5, "lasery": 6, "armory": 7}
NAMES = ["attack", "get_items", "move", "noop", "put_items", "rotate", "swap"]
LAST_ARGUMENT = {"attack": 8, "get_items": 0, "move": 1, "noop": 0, "put_items": 0, "rotate": 3, "swap": 0}
FORWARD = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
RIGHT_OF = {"up": "right", "right": "down", "down": "left", "left": "up"}
BEHIND = {"up": "down", "down": "up", "left": "right", "right": "left"}
FACINGS = ["up", "down", "left", "right"]


def random_bits(key, n):
    """The n-th 64 bits of a stream: SplitMix64 of key and n."""
    mask = 2**64 - 1
    z = (key + n * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


class Stream:
    """Random numbers of a key, one after the other."""

    def __init__(self, key):
        self.key, self.drawn = int(key), 0

    def bits(self):
        self.drawn += 1
        return random_bits(self.key, self.drawn)

    def below(self, n):
        return (self.bits() >> 32) * n >> 32


class Agent:
    """One agent."""

    def __init__(self, place, facing):
        self.place, self.facing, self.frozen = place, facing, 0
        self.held = dict.fromkeys(RESOURCES, 0)
        self.count, self.last, self.reward, self.total = {}, (0, 0), 0.0, 0.0

    def event(self, name, n=1):
        self.count[name] = self.count.get(name, 0) + n

    def cell(self, forward, right=0):
        """The cell so far ahead and so far to the right."""
        f, r = FORWARD[self.facing], FORWARD[RIGHT_OF[self.facing]]
        return self.place[0] + forward * f[0] + right * r[0], self.place[1] + forward * f[1] + right * r[1]


class Converter:
    """One converter: busy until its event in the world's queue."""

    def __init__(self, world, kind, place):
        self.world, self.kind, self.place, self.recipe = world, kind, place, world.config.recipes[kind]
        self.busy, self.conversions, self.held = False, 0, dict.fromkeys(RESOURCES, Fraction(0))
        self.needs = {r: Fraction(round(1000 * n), 1000) for r, n in self.recipe.inputs.items()}
        ticks, cooldown = self.recipe.conversion_ticks, self.recipe.cooldown
        self.ticks, self.cooldown = {"engine": (ticks, cooldown), "document": (cooldown, 0),
                                     "both": (cooldown, cooldown)}[world.config.timing]
        for r in self.recipe.outputs: self.held[r] = Fraction(self.recipe.initial_resource_count)
        self.try_start()

    def ready(self):
        """Whether a conversion can start."""
        left = self.recipe.max_conversions < 0 or self.conversions < self.recipe.max_conversions
        made = sum(int(self.held[r]) for r in self.recipe.outputs)
        enough = all(self.held[r] >= n for r, n in self.needs.items())
        return not self.busy and left and made < self.recipe.max_output and enough

    def try_start(self):
        """Start if possible; again, if all of it took no time."""
        for _ in range(255):
            if not self.ready(): break
            for r, n in self.needs.items(): self.held[r] -= n
            if self.ticks:
                self.busy = True
                self.world.later(self.ticks, self.converted)
            else: self.add_output()

    def add_output(self):
        """The conversion is complete; cool, if it takes time."""
        for r, n in self.recipe.outputs.items(): self.held[r] = min(self.held[r] + round(n), Fraction(255))
        self.conversions += 1
        self.busy = self.cooldown > 0
        if self.busy: self.world.later(self.cooldown, self.cooled)

    def converted(self):
        """Event: the output is there."""
        self.add_output()
        if not self.busy: self.try_start()

    def cooled(self):
        """Event: the next conversion may begin."""
        self.busy = False
        self.try_start()


class World:
    """One lane."""

    def __init__(self, config, key):
        self.config, self.stream = config, Stream(key)
        self.begin()

    def begin(self):
        """A new episode."""
        seed = self.config.map_seed
        key = self.stream.bits() if seed is None else child_seed(seed, "map")
        self.time, self.queue, self.ticket = 0, [], count()
        self.agents, self.converters, self.walls, self.blocks = [], [], set(), set()
        if self.config.layout: self.read_map()
        else: self.draw_map(Stream(key))

    def later(self, steps, event):
        """Put an event into the queue."""
        heapq.heappush(self.queue, (self.time + steps, next(self.ticket), event))

    # maps

    def read_map(self):
        """The map in letters."""
        signs = {"m": "mine", "g": "generator", "a": "altar", "l": "lasery", "r": "armory"}
        rows = self.config.layout.splitlines()
        self.size = len(rows), len(rows[0])
        for i, row in enumerate(rows):
            for j, sign in enumerate(row):
                if sign == "#": self.walls.add((i, j))
                if sign == "s": self.blocks.add((i, j))
                if sign in "^v<>": self.agents.append(Agent((i, j), FACINGS["^v<>".index(sign)]))
                if sign in signs: self.converters.append(Converter(self, signs[sign], (i, j)))

    def draw_map(self, stream):
        """Rooms in rows, as square as can be, a border around them; things at random places."""
        c = self.config
        across = next(n for n in count(1) if n * n >= c.rooms)
        down = (c.rooms + across - 1) // across
        self.size = down * c.room_size + 2 * c.border, across * c.room_size + 2 * c.border
        inside = set()
        for room in range(c.rooms):
            top, left = c.border + room // across * c.room_size, c.border + room % across * c.room_size
            inside |= {(top + i, left + j) for i in range(c.room_size) for j in range(c.room_size)}
            self.draw_room(stream, top, left)
        self.walls |= {(i, j) for i in range(self.size[0]) for j in range(self.size[1]) if (i, j) not in inside}

    def draw_room(self, stream, top, left):
        """A room in which every agent has a free cell beside it."""
        c = self.config
        wanted = [kind for kind in list(TYPES)[1:] for _ in range(c.objects[kind])] + ["agent"] * c.agents_per_room
        while True:
            cells = [(top + i, left + j) for i in range(c.room_size) for j in range(c.room_size)]
            for t in range(len(wanted)):
                k = t + stream.below(len(cells) - t)
                cells[t], cells[k] = cells[k], cells[t]
            free, placed = set(cells[len(wanted):]), list(zip(wanted, cells, strict=False))
            beside = lambda p: {(p[0] + i, p[1] + j) for i, j in FORWARD.values()}
            if all(beside(place) & free for kind, place in placed if kind == "agent"): break
        for kind, place in placed:
            if kind == "wall": self.walls.add(place)
            elif kind == "block": self.blocks.add(place)
            elif kind == "agent": self.agents.append(Agent(place, "up"))
            else: self.converters.append(Converter(self, kind, place))

    # who is where

    def agent_at(self, place): return next((a for a in self.agents if a.place == place), None)

    def converter_at(self, place): return next((c for c in self.converters if c.place == place), None)

    def free(self, place):
        inside = 0 <= place[0] < self.size[0] and 0 <= place[1] < self.size[1]
        taken = place in self.walls or place in self.blocks or self.agent_at(place) or self.converter_at(place)
        return inside and not taken

    # a step

    def step(self, actions):
        """Rewards, successes, and whether the episode has ended."""
        c = self.config
        self.time += 1
        while self.queue and self.queue[0][0] <= self.time: heapq.heappop(self.queue)[2]()
        before = [self.value(a) for a in self.agents]
        order = list(range(len(self.agents)))
        for i in reversed(range(1, len(order))):
            j = self.stream.below(i + 1)
            order[i], order[j] = order[j], order[i]
        success = [False] * len(order)
        for attacks in (True, False):
            for k in order:
                name = NAMES[actions[k][0]]
                if (name == "attack") == attacks: success[k] = self.act(self.agents[k], name, actions[k][1])
        for a in self.agents if c.resource_loss else []: self.lose(a)
        for k, a in enumerate(self.agents):
            a.reward, a.last = self.value(a) - before[k], tuple(actions[k])
            a.total += a.reward
        return [a.reward for a in self.agents], success, self.time >= c.max_steps

    def value(self, a):
        """Reward for what an agent holds."""
        total = 0.0
        for r in RESOURCES:
            worth, cap = self.config.rewards[r] * a.held[r], self.config.reward_caps[r]
            total += worth if cap is None else min(worth, cap)
        return total

    def lose(self, a):
        for r in RESOURCES:
            for _ in range(a.held[r]):
                if (self.stream.bits() >> 11) / 2**53 < self.config.resource_loss:
                    a.held[r] -= 1
                    a.event(f"{r}.lost")

    def act(self, a, name, argument):
        """Whether the action succeeded."""
        if a.frozen:
            a.frozen -= 1
            a.event("frozen.steps")
            done = False
        else: done = argument <= LAST_ARGUMENT[name] and getattr(self, name)(a, argument)
        a.event(f"action.{name}" if done else "action.failed")
        return done

    def noop(self, a, _): return True

    def rotate(self, a, argument):
        a.facing = FACINGS[argument]
        return True

    def move(self, a, argument):
        step = FORWARD[BEHIND[a.facing] if argument else a.facing]
        to = a.place[0] + step[0], a.place[1] + step[1]
        if not self.free(to): return False
        a.place = to
        return True

    def swap(self, a, _):
        to = a.cell(1)
        if to not in self.blocks: return False
        self.blocks = self.blocks - {to} | {a.place}
        a.place = to
        return True

    def get_items(self, a, _):
        c, moved = self.converter_at(a.cell(1)), False
        for r in RESOURCES if c else []:
            n = min(int(c.held[r]), self.config.limits[r] - a.held[r]) if r in c.recipe.outputs else 0
            if n > 0:
                a.held[r], c.held[r], moved = a.held[r] + n, c.held[r] - n, True
                a.event(f"{r}.get", n)
                c.try_start()
        return moved

    def put_items(self, a, _):
        c, moved = self.converter_at(a.cell(1)), False
        for r in RESOURCES if c else []:
            need = -(-c.needs.get(r, Fraction(0)) // 1)
            n = int(min(need, a.held[r], 255 - int(c.held[r])))
            if n > 0:
                a.held[r], c.held[r], moved = a.held[r] - n, c.held[r] + n, True
                a.event(f"{r}.put", n)
                c.try_start()
        return moved

    def attack(self, a, argument):
        if a.held["laser"] < self.config.laser_cost: return False
        ahead = [self.agent_at(a.cell(distance, side)) for distance in (1, 2, 3) for side in (0, -1, 1)]
        targets = [t for t in ahead if t]
        if not targets: return False
        target = targets[min(argument, len(targets) - 1)]
        a.held["laser"] -= self.config.laser_cost
        if target.held["armor"]:
            target.held["armor"] -= 1
            a.event("attack.shielded")
            return True
        a.event("attack.hit")
        robbed = not target.frozen
        target.frozen = self.config.freeze_steps
        for r in RESOURCES if robbed else []:
            n = min(target.held[r], self.config.limits[r] - a.held[r])
            if n > 0:
                target.held[r], a.held[r] = target.held[r] - n, a.held[r] + n
                a.event(f"{r}.robbed", n)
        return True

    # observations

    def observation(self, a):
        """Tokens of an agent, 200 rows of three bytes."""
        c = self.config
        half = c.window // 2
        shown = a.reward * 100 + 0.5 if c.legacy_last_reward else a.reward * 20 + 0.5
        byte = int(shown // 1) % 256 if c.legacy_last_reward else max(0, min(255, 128 + int(shown // 1)))
        own = [("episode_completion_pct", 255 * self.time // c.max_steps), ("last_action", a.last[0]),
               ("last_action_arg", a.last[1]), ("last_reward", byte)]
        tokens = [(half, half, name, value) for name, value in own]
        cells = [(i, j) for i in range(-half, half + 1) for j in range(-half, half + 1)]
        for i, j in sorted(cells, key=lambda cell: (abs(cell[0]) + abs(cell[1]), cell)):
            tokens += [(i + half, j + half, *fact) for fact in self.facts((a.place[0] + i, a.place[1] + j))]
        rows = [[16 * i + j, c.features.index(name), value] for i, j, name, value in tokens]
        a.event("tokens.lost", max(len(rows) - c.max_tokens, 0))
        return rows[: c.max_tokens] + [[255, 255, 255]] * (c.max_tokens - len(rows))

    def facts(self, place):
        """What is told about a cell."""
        if place in self.walls: return [("type_id", 1)]
        if place in self.blocks: return [("type_id", 2), ("swappable", 1)]
        if a := self.agent_at(place):
            about = [("type_id", 0), ("group", 0), ("frozen", int(a.frozen > 0))]
            about += [("orientation", FACINGS.index(a.facing))]
            return about + [(f"inv:{r}", n) for r, n in a.held.items() if n]
        if c := self.converter_at(place):
            about = [("type_id", TYPES[c.kind]), ("converting", int(c.busy))]
            return about + [(f"inv:{r}", int(n)) for r, n in c.held.items() if n >= 1]
        return []
