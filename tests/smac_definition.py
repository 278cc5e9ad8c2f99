"""SMAC and SMACv2 as their definitions read: slow, obvious, and without a line of the simulator.

A `Battle` is one moment as StarCraft II would report it, `Settings` are SMAC's switches. Every function looks at
nothing else. Rows are dictionaries from column name to value, in the order of the columns.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

MOVES = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}  # actions 2 to 5, cells
TINY = 1e-7  # the least distance to the side that SMACv2's cones know


@dataclass(frozen=True)
class Kind:
    """What SMAC itself knows about a unit type."""

    cooldown: float  # the cooldown in the state is divided by this; for a Medivac its energy is
    shield: float  # the shield is divided by this
    shoot: float  # SMACv2's range of actions, if `use_unit_ranges`
    sight: float  # SMACv2's range of sight, if `use_unit_ranges`


KINDS = {
    "marine": Kind(15, 0, 5, 9),
    "marauder": Kind(25, 0, 6, 10),
    "medivac": Kind(200, 0, 4, 11),
    "stalker": Kind(35, 80, 6, 10),
    "zealot": Kind(22, 50, 0.1, 9),
    "colossus": Kind(24, 150, 7, 10),
    "hydralisk": Kind(10, 0, 5, 9),
    "zergling": Kind(11, 0, 0.1, 8),
    "baneling": Kind(1, 0, 0.25, 8),
    "spine_crawler": Kind(15, 0, 7, 11),  # never an agent's
}

ALPHABETICAL = {
    "colossi_stalkers_zealots": ["colossus", "stalker", "zealot"],
    "MMM": ["marauder", "marine", "medivac"],
    "bane": ["baneling", "zergling"],
    "terran_gen": ["marine", "marauder", "medivac"],
    "protoss_gen": ["stalker", "zealot", "colossus"],
    "zerg_gen": ["zergling", "hydralisk", "baneling"],
}
ALLY_TYPES = ALPHABETICAL | {"stalkers_and_zealots": ["stalker", "zealot"]}  # columns of the one-hot unit type
ENEMY_TYPES = ALPHABETICAL | {"stalkers_and_zealots": ["zealot", "stalker"]}  # as the game numbers them
HEALS = ("MMM", "terran_gen")  # map types whose Medivacs are told apart


@dataclass(frozen=True)
class Facts:
    """What SMAC's list of maps says about one."""

    n_agents: int
    n_enemies: int
    limit: int
    races: str  # allies, enemies
    type_bits: int
    map_type: str


MAPS = {
    "3m": Facts(3, 3, 60, "TT", 0, "marines"),
    "8m": Facts(8, 8, 120, "TT", 0, "marines"),
    "25m": Facts(25, 25, 150, "TT", 0, "marines"),
    "5m_vs_6m": Facts(5, 6, 70, "TT", 0, "marines"),
    "8m_vs_9m": Facts(8, 9, 120, "TT", 0, "marines"),
    "10m_vs_11m": Facts(10, 11, 150, "TT", 0, "marines"),
    "27m_vs_30m": Facts(27, 30, 180, "TT", 0, "marines"),
    "MMM": Facts(10, 10, 150, "TT", 3, "MMM"),
    "MMM2": Facts(10, 12, 180, "TT", 3, "MMM"),
    "2s3z": Facts(5, 5, 120, "PP", 2, "stalkers_and_zealots"),
    "3s5z": Facts(8, 8, 150, "PP", 2, "stalkers_and_zealots"),
    "3s5z_vs_3s6z": Facts(8, 9, 170, "PP", 2, "stalkers_and_zealots"),
    "3s_vs_3z": Facts(3, 3, 150, "PP", 0, "stalkers"),
    "3s_vs_4z": Facts(3, 4, 200, "PP", 0, "stalkers"),
    "3s_vs_5z": Facts(3, 5, 250, "PP", 0, "stalkers"),
    "1c3s5z": Facts(9, 9, 180, "PP", 3, "colossi_stalkers_zealots"),
    "2m_vs_1z": Facts(2, 1, 150, "TP", 0, "marines"),
    "corridor": Facts(6, 24, 400, "PZ", 0, "zealots"),
    "6h_vs_8z": Facts(6, 8, 150, "ZP", 0, "hydralisks"),
    "2s_vs_1sc": Facts(2, 1, 300, "PZ", 0, "stalkers"),
    "so_many_baneling": Facts(7, 32, 100, "PZ", 0, "zealots"),
    "bane_vs_bane": Facts(24, 24, 200, "ZZ", 2, "bane"),
    "2c_vs_64zg": Facts(2, 64, 400, "PZ", 0, "colossus"),
} | {
    f"{race}_{n}_vs_{m}": Facts(n, m, 200, 2 * race[0].upper(), 3, f"{race}_gen")
    for race in ("terran", "protoss", "zerg")
    for n, m in ((5, 5), (10, 10), (10, 11), (20, 20), (20, 23))
}


@dataclass
class Settings:
    """SMAC's switches, at their defaults."""

    obs_all_health: bool = True
    obs_own_health: bool = True
    obs_last_action: bool = False
    obs_timestep_number: bool = False
    obs_pathing_grid: bool = False
    obs_terrain_height: bool = False
    obs_instead_of_state: bool = False
    state_last_action: bool = True
    state_timestep_number: bool = False
    reward_sparse: bool = False
    reward_only_positive: bool = True
    reward_death_value: float = 10.0
    reward_negative_scale: float = 0.5
    reward_win: float = 200.0
    reward_defeat: float = 0.0
    reward_scale: bool = True
    reward_scale_rate: float = 20.0
    use_unit_ranges: bool = False
    min_attack_range: float = 2.0
    obs_own_pos: bool = False
    conic_fov: bool = False
    num_fov_actions: int = 12
    action_mask: bool = True
    observe_attack_probs: bool = False
    observe_health_levels: bool = False
    observe_teammate_types: bool = True
    fully_observable: bool = False
    quirk_regeneration_reward: bool = True  # v1: the size of the change is rewarded; else only what is above zero
    quirk_first_max_reward: bool = True  # the first episode's enemies scale all rewards
    quirk_enemy_block: bool = False  # SMACv2: an enemy nobody has seen blanks those before it
    quirk_timestep_column: bool = False  # v1: a column that stays zero before the share of the episode


@dataclass
class Unit:
    """A unit now, and what it had one step ago."""

    kind: str
    x: float
    y: float
    health: float
    health_max: float
    shield: float = 0.0
    shield_max: float = 0.0
    energy: float = 0.0
    cooldown: float = 0.0
    before: float | None = None  # health and shield one step ago, None: it was dead

    @property
    def alive(self) -> bool:
        return self.health > 0


@dataclass
class Battle:
    """One moment of a battle."""

    allies: list[Unit]
    enemies: list[Unit]
    limit: int
    races: str = "TT"
    type_bits: int = 0
    map_type: str = "marines"
    size: tuple[int, int] = (32, 32)
    pathing: list[list[bool]] = field(default_factory=lambda: [[True] * 32 for _ in range(32)])  # [x][y]
    height: list[list[float]] = field(default_factory=lambda: [[0.0] * 32 for _ in range(32)])  # [x][y]
    steps: int = 0
    last_actions: list[int | None] = field(default_factory=list)  # None: none yet
    looks: list[tuple[float, float]] = field(default_factory=list)  # view direction of each agent
    attack_probs: list[float] | None = None  # None: no such capability
    health_levels: list[float] | None = None  # None: no such capability
    masked: list[list[bool]] | None = None  # [agent][enemy] its health, shield and type are hidden; None: nothing is
    sees: list[list[bool]] | None = None  # [agent][enemy] when the agent looked; None: everything in view
    first_enemies: float | None = None  # health and shield of the first episode's enemies, None: as these

    def __post_init__(self):
        self.last_actions = self.last_actions or [None] * len(self.allies)
        self.looks = self.looks or [(1.0, 0.0)] * len(self.allies)


# What can be done


def first_attack(s: Settings) -> int:
    """Number of the first attack action."""
    return 6 + (s.num_fov_actions if s.conic_fov else 0)


def n_actions(b: Battle, s: Settings) -> int:
    """Number of actions; on SMACv2's Terran maps every ally can be healed."""
    targets = len(b.enemies)
    if b.map_type in HEALS: targets = max(targets, len(b.allies))
    return first_attack(s) + targets


def distance(a: Unit, b: Unit) -> float:
    return math.hypot(b.x - a.x, b.y - a.y)


def sight_range(unit: Unit, s: Settings) -> float:
    return KINDS[unit.kind].sight if s.use_unit_ranges else 9


def shoot_range(unit: Unit, s: Settings) -> float:
    return max(KINDS[unit.kind].shoot, s.min_attack_range) if s.use_unit_ranges else 6


def look_direction(i: int, s: Settings) -> tuple[float, float]:
    """The direction of look action `i`: the first is east, then anticlockwise."""
    angle = 2 * math.pi * (i / s.num_fov_actions)
    return math.cos(angle), math.sin(angle)


def in_cone(b: Battle, s: Settings, me: int, other: Unit, reach: float) -> bool:
    """SMACv2's cone; the direction of view is brought to the side on which the other unit is."""
    agent = b.allies[me]
    if distance(agent, other) > reach: return False
    dx, dy = other.x - agent.x, other.y - agent.y
    look_x, look_y = b.looks[me]
    if dx > 0: dx, look_x = max(dx, TINY), max(look_x, TINY)
    else: dx, look_x = min(dx, -TINY), min(look_x, -TINY)
    return abs(math.atan(dy / dx) - math.atan(look_y / look_x)) < math.pi / s.num_fov_actions


def in_view(b: Battle, s: Settings, me: int, other: Unit) -> bool:
    """Whether the place of another unit is in an agent's sight."""
    reach = sight_range(b.allies[me], s)
    return in_cone(b, s, me, other, reach) if s.conic_fov else distance(b.allies[me], other) < reach


def in_reach(b: Battle, s: Settings, me: int, other: Unit) -> bool:
    """Whether another unit is in the range of an agent's attack or healing."""
    reach = shoot_range(b.allies[me], s)
    return in_cone(b, s, me, other, reach) if s.conic_fov else distance(b.allies[me], other) <= reach


def cell(b: Battle, grid: list[list], x: int, y: int, outside):
    """The value of a grid at a cell, or what lies outside the map."""
    return grid[x][y] if 0 <= x < b.size[0] and 0 <= y < b.size[1] else outside


def can_move(b: Battle, unit: Unit, dx: int, dy: int) -> bool:
    """The cell one ahead must be walkable: shift, then cut off the fraction (towards zero)."""
    return cell(b, b.pathing, int(unit.x + dx), int(unit.y + dy), False)


def targets(b: Battle, me: int) -> dict[int, Unit]:
    """Whom an agent may attack or heal, by number."""
    heals = b.map_type in HEALS and b.allies[me].kind == "medivac"
    if not heals: return dict(enumerate(b.enemies))
    return {i: ally for i, ally in enumerate(b.allies) if ally.kind != "medivac"}


def available_actions(b: Battle, s: Settings, me: int, in_truth: bool = False) -> list[int]:
    """The availability of an agent's actions; `in_truth`: as if `action_mask` were on."""
    agent = b.allies[me]
    row = [0] * n_actions(b, s)
    if not agent.alive: return [1] + row[1:]
    row[1] = 1
    for k, (dx, dy) in enumerate(MOVES.values()): row[2 + k] = int(can_move(b, agent, dx, dy))
    for k in range(6, first_attack(s)): row[k] = 1
    for k, other in targets(b, me).items():
        anywhere = not s.action_mask and not in_truth
        if other.alive and (anywhere or in_reach(b, s, me, other)): row[first_attack(s) + k] = 1
    return row


def killed_next(b: Battle) -> list[int]:
    """Who is below its health level now and so killed in the next step, whatever happens to it before."""
    if b.health_levels is None: return []
    return [i for i, u in enumerate(b.allies) if u.alive and u.health / u.health_max < b.health_levels[i]]


# What is seen


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def ally_health(b: Battle, i: int) -> float:
    """An ally's health as it is shown: with a health level, the share above it."""
    health = b.allies[i].health / b.allies[i].health_max
    if b.health_levels is None: return health
    return (health - b.health_levels[i]) / (1 - b.health_levels[i])


def type_columns(b: Battle, name: str, unit: Unit, types: dict[str, list[str]]) -> dict[str, float]:
    """The one-hot unit type; no columns on maps with one type a team."""
    if not b.type_bits: return {}
    return {f"{name}_bit_{k}": float(types[b.map_type][k] == unit.kind) for k in range(b.type_bits)}


def last_action_columns(b: Battle, s: Settings, i: int) -> dict[str, float]:
    return {f"ally_last_action_{i}_action_{k}": float(b.last_actions[i] == k) for k in range(n_actions(b, s))}


def place_columns(name: str, i: int, flag: str, value: int, me: Unit, other: Unit, s: Settings) -> dict[str, float]:
    """The first four columns about another unit."""
    sight = sight_range(me, s)
    return {
        f"{name}_{flag}_{i}": float(value),
        f"{name}_distance_{i}": distance(me, other) / sight,
        f"{name}_relative_x_{i}": (other.x - me.x) / sight,
        f"{name}_relative_y_{i}": (other.y - me.y) / sight,
    }


def move_columns(b: Battle, s: Settings, me: int) -> dict[str, float]:
    """Where an agent can go, and the ground around it."""
    agent = b.allies[me]
    row = {f"move_action_{name}": float(can_move(b, agent, dx, dy)) for name, (dx, dy) in MOVES.items()}
    x, y = int(agent.x), int(agent.y)
    around = [(x, y + 4), (x, y - 4), (x + 4, y), (x - 4, y)]
    around += [(x + 2, y + 2), (x - 2, y - 2), (x + 2, y - 2), (x - 2, y + 2)]
    if s.obs_pathing_grid:
        for k, (i, j) in enumerate(around): row[f"pathing_grid_{k}"] = float(cell(b, b.pathing, i, j, True))
    if s.obs_terrain_height:
        for k, (i, j) in enumerate([*around, (x, y)]): row[f"terrain_height_{k}"] = cell(b, b.height, i, j, 1.0)
    return row


def enemy_columns(b: Battle, s: Settings, me: int, e: int, bit: int) -> dict[str, float]:
    """What an agent is told about an enemy; `bit` is the availability of the action with the enemy's number."""
    enemy = b.enemies[e]
    row = place_columns("enemy", e, "shootable", bit, b.allies[me], enemy, s)
    details = {}
    if s.obs_all_health:
        details[f"enemy_health_{e}"] = enemy.health / enemy.health_max
        if b.races[1] == "P": details[f"enemy_shield_{e}"] = share(enemy.shield, KINDS[enemy.kind].shield)
    details |= type_columns(b, f"enemy_unit_type_{e}", enemy, ENEMY_TYPES)
    if b.masked is not None and b.masked[me][e]: details = dict.fromkeys(details, 0.0)
    row |= details
    seen = in_view(b, s, me, enemy) and (b.sees is None or b.sees[me][e])
    return row if enemy.alive and (seen or s.fully_observable) else dict.fromkeys(row, 0.0)


def ally_columns(b: Battle, s: Settings, me: int, i: int) -> dict[str, float]:
    """What an agent is told about another agent."""
    ally = b.allies[i]
    row = place_columns("ally", i, "visible", 1, b.allies[me], ally, s)
    if s.obs_all_health:
        hidden = b.health_levels is not None and not s.observe_health_levels
        row[f"ally_health_{i}"] = 0.0 if hidden else ally_health(b, i)
        if b.races[0] == "P": row[f"ally_shield_{i}"] = share(ally.shield, KINDS[ally.kind].shield)
    if b.attack_probs is not None:
        row[f"ally_attack_prob_{i}"] = b.attack_probs[i] if s.observe_attack_probs else 0.0
    if b.health_levels is not None:
        row[f"ally_health_level_{i}"] = b.health_levels[i] if s.observe_health_levels else 0.0
    types = type_columns(b, f"ally_unit_type_{i}", ally, ALLY_TYPES)
    row |= types if s.observe_teammate_types else dict.fromkeys(types, 0.0)
    if s.obs_last_action: row |= last_action_columns(b, s, i)
    shown = ally.alive and (in_view(b, s, me, ally) or s.fully_observable)
    return row if shown else dict.fromkeys(row, 0.0)


def own_columns(b: Battle, s: Settings, me: int) -> dict[str, float]:
    """What an agent is told about itself."""
    agent = b.allies[me]
    row = {}
    if s.obs_own_health or s.obs_all_health:
        row["own_health"] = ally_health(b, me)
        if b.races[0] == "P": row["own_shield"] = share(agent.shield, KINDS[agent.kind].shield)
    if b.attack_probs is not None: row["own_attack_prob"] = b.attack_probs[me]
    if b.health_levels is not None: row["own_health_level"] = b.health_levels[me]
    if s.obs_own_pos: row |= {"own_pos_x": agent.x / b.size[0], "own_pos_y": agent.y / b.size[1]}
    if s.conic_fov: row |= dict(zip(("own_fov_x", "own_fov_y"), b.looks[me], strict=True))
    return row | type_columns(b, "own_unit_type", agent, ALLY_TYPES)


def observation(b: Battle, s: Settings, me: int) -> dict[str, float]:
    """An agent's observation: moves, enemies, allies, itself."""
    bits = available_actions(b, s, me, in_truth=True)[first_attack(s) :]
    enemies: dict[str, float] = {}
    for e in range(len(b.enemies)):
        enemies |= enemy_columns(b, s, me, e, bits[e])
        if s.quirk_enemy_block and b.sees is not None and not b.sees[me][e]: enemies = dict.fromkeys(enemies, 0.0)
    row = move_columns(b, s, me) | enemies
    for i in range(len(b.allies)):
        if i != me: row |= ally_columns(b, s, me, i)
    row |= own_columns(b, s, me)
    if not b.allies[me].alive: row = dict.fromkeys(row, 0.0)
    if s.obs_timestep_number:
        if s.quirk_timestep_column: row["timestep_unused"] = 0.0
        row["timestep"] = b.steps / b.limit
    return row


def state(b: Battle, s: Settings) -> dict[str, float]:
    """The global state: allies, enemies, last actions, share of the episode."""
    if s.obs_instead_of_state:
        return {f"agent_{a}_{k}": v for a in range(len(b.allies)) for k, v in observation(b, s, a).items()}
    row: dict[str, float] = {}
    for i, ally in enumerate(b.allies):
        loaded = ally.energy if b.map_type in HEALS and ally.kind == "medivac" else ally.cooldown
        columns = {f"ally_health_{i}": ally_health(b, i), f"ally_cooldown_{i}": loaded / KINDS[ally.kind].cooldown}
        columns |= centred("ally", i, ally, b)
        if b.races[0] == "P": columns[f"ally_shield_{i}"] = share(ally.shield, KINDS[ally.kind].shield)
        if b.attack_probs is not None: columns[f"ally_attack_prob_{i}"] = b.attack_probs[i]
        if b.health_levels is not None: columns[f"ally_health_level_{i}"] = b.health_levels[i]
        if s.conic_fov: columns |= {f"ally_fov_x_{i}": b.looks[i][0], f"ally_fov_y_{i}": b.looks[i][1]}
        columns |= type_columns(b, f"ally_unit_type_{i}", ally, ALLY_TYPES)
        row |= columns if ally.alive else dict.fromkeys(columns, 0.0)
    for e, enemy in enumerate(b.enemies):
        columns = {f"enemy_health_{e}": enemy.health / enemy.health_max} | centred("enemy", e, enemy, b)
        if b.races[1] == "P": columns[f"enemy_shield_{e}"] = share(enemy.shield, KINDS[enemy.kind].shield)
        columns |= type_columns(b, f"enemy_unit_type_{e}", enemy, ENEMY_TYPES)
        row |= columns if enemy.alive else dict.fromkeys(columns, 0.0)
    if s.state_last_action:
        for i in range(len(b.allies)): row |= last_action_columns(b, s, i)
    if s.state_timestep_number: row["timestep"] = b.steps / b.limit
    return row


def centred(name: str, i: int, unit: Unit, b: Battle) -> dict[str, float]:
    """A position from the middle of the map, as a share of its width and height."""
    width, height = b.size
    x, y = (unit.x - width / 2) / width, (unit.y - height / 2) / height
    return {f"{name}_relative_x_{i}": x, f"{name}_relative_y_{i}": y}


def obs_size(b: Battle, s: Settings) -> int:
    """The length of an observation, counted without looking at one."""
    ally_shield, enemy_shield = (int(race == "P") for race in b.races)
    levels, probs = int(b.health_levels is not None), int(b.attack_probs is not None)
    move = 4 + 8 * s.obs_pathing_grid + 9 * s.obs_terrain_height
    enemy = 4 + b.type_bits + s.obs_all_health * (1 + enemy_shield)
    ally = 4 + b.type_bits + s.obs_all_health * (1 + ally_shield) + levels + probs
    ally += s.obs_last_action * n_actions(b, s)
    own = b.type_bits + (s.obs_own_health or s.obs_all_health) * (1 + ally_shield) + levels + probs
    own += 2 * s.obs_own_pos + 2 * s.conic_fov + s.obs_timestep_number * (1 + s.quirk_timestep_column)
    return move + len(b.enemies) * enemy + (len(b.allies) - 1) * ally + own


def state_size(b: Battle, s: Settings) -> int:
    """The length of the state, counted without looking at one."""
    n, m = len(b.allies), len(b.enemies)
    if s.obs_instead_of_state: return n * obs_size(b, s)
    ally = 4 + int(b.races[0] == "P") + int(b.attack_probs is not None) + int(b.health_levels is not None)
    ally += 2 * s.conic_fov + b.type_bits
    enemy = 3 + int(b.races[1] == "P") + b.type_bits
    return n * ally + m * enemy + s.state_last_action * n * n_actions(b, s) + s.state_timestep_number


# What it is worth


def outcome(b: Battle) -> int | None:
    """1 a win, -1 a defeat, 0 nobody is left, None the battle goes on. A defeat is looked for first."""
    allies, enemies = [u for u in b.allies if u.alive], [u for u in b.enemies if u.alive]
    fighters, healers = (lambda side: [u for u in side if u.kind != "medivac"]), b.map_type in HEALS
    if not allies and enemies: return -1
    if healers and not fighters(allies): return -1
    if allies and not enemies: return 1
    if b.map_type == "MMM" and [u.kind for u in enemies] == ["medivac"]: return 1  # v1: just one
    if b.map_type == "terran_gen" and not fighters(enemies): return 1  # SMACv2: any number
    return 0 if not allies and not enemies else None


def max_reward(b: Battle, s: Settings) -> float:
    """The largest return before scaling, if nothing heals."""
    enemies = sum(u.health_max + u.shield_max for u in b.enemies)
    if s.quirk_first_max_reward and b.first_enemies is not None: enemies = b.first_enemies
    return len(b.enemies) * s.reward_death_value + s.reward_win + enemies


def damage(side: list[Unit]) -> float:
    """What a team has lost in this step; the dead lose what they had, healing counts against it."""
    return sum(u.before - (u.health + u.shield if u.alive else 0.0) for u in side if u.before is not None)


def deaths(side: list[Unit]) -> int:
    """How many of a team died in this step."""
    return sum(u.before is not None and not u.alive for u in side)


def reward(b: Battle, s: Settings, code: int | None) -> float:
    """The reward of the step that led here; `code` is the outcome."""
    if s.reward_sparse: total = float(code or 0)
    else:
        total = damage(b.enemies) + s.reward_death_value * deaths(b.enemies)
        if not s.reward_only_positive:
            total -= s.reward_negative_scale * (damage(b.allies) + s.reward_death_value * deaths(b.allies))
        elif s.quirk_regeneration_reward: total = abs(total)
        else: total = max(total, 0.0)
        if code == 1: total += s.reward_win
        if code == -1: total += s.reward_defeat
    return total / (max_reward(b, s) / s.reward_scale_rate) if s.reward_scale else total


# SMACv2: who sees an enemy (extended partial observability)


def forget(b: Battle, holder: list[int | None], sees: list[list[bool]]) -> None:
    """After a step: an enemy is forgotten by all when it, or who saw it first, has died; who held one sees nothing."""
    for e, enemy in enumerate(b.enemies):
        held_by = holder[e]
        widowed = held_by is not None and not b.allies[held_by].alive
        if widowed: sees[held_by] = [False] * len(b.enemies)
        if widowed or not enemy.alive:
            holder[e] = None
            for a in range(len(b.allies)): sees[a][e] = False


def look(
    b: Battle, s: Settings, holder: list[int | None], sees: list[list[bool]], me: int, draw: Callable[[], bool]
) -> None:
    """An agent looks: of an enemy that nobody holds it becomes the holder, and each other agent sees it by a draw."""
    if not b.allies[me].alive: return
    for e, enemy in enumerate(b.enemies):
        if in_view(b, s, me, enemy) and holder[e] is None:  # the dead are looked at as well
            holder[e] = me
            for a in range(len(b.allies)): sees[a][e] = sees[a][e] or a == me or draw()
