"""Dropping candidates early: means are predicted, the best is lost as rarely as promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.grammar import load_grammar
from sycam.grammar.sampling import all_expressions
from sycam.metrics import Road, find_metric
from sycam.scoring.blocks import cell_blocks, image_blocks
from sycam.scoring.scorer import Score
from sycam.search.racing.prediction import PEERS_EACH, PRIOR, Field, Predictor, Sampled
from sycam.search.racing.race import BOUND, OUTPERFORMED, Race
from sycam.search.racing.sequential_test import Bounds, SequentialTest
from sycam.support import shelf

SPACE = all_expressions(load_grammar("gradient"), 3)
FORMULAS = SPACE[:16] + SPACE[60:80]  # of cost 1, 2 and 3
NOBODY = np.zeros((0, 200))
NO_ROOM = np.full((200, 1), -1.0)  # bounds: nobody can be better than the leader on any image


def cells(seen: np.ndarray, images: int = 200) -> np.ndarray:
    """Scores of the first images as cells of a single level."""
    return np.r_[seen, np.full(images - len(seen), np.nan)][:, None]


def drops(test, leader, seen, leaders, peers) -> bool:
    """What a test says of scores of whole images."""
    given = leader[:, None], cells(seen, len(leader)), leaders, peers[..., None]
    return test.drops(*given)


def predictor(leader, peers, count: int) -> Predictor:
    """From the first images."""
    known = Field.of(leader[:, None], peers[..., None])
    return known.predictor(Sampled.of(np.isfinite(cells(leader[:count], len(leader)))))


class Cells:
    """A table ``[C,N,3]`` of synthetic scores in cells; higher is better."""

    metric = find_metric("road:percentiles=30+50+70")

    def __init__(self, scores: dict):
        self.scores = scores
        self.images = len(next(iter(scores.values())))
        self.stages = cell_blocks(self.images, self.metric)

    def of(self, name, stage):
        sums = np.nanmean(self.cells(name, stage), 1) * 3
        return Score.of(self.metric, sums[np.isfinite(sums)], 0, True)

    def cells(self, name, stage):
        seen = seen_cells(self.images, self.stages[stage].end)
        return np.where(seen, self.scores[name], np.nan)

    def score(self, expressions, stage):
        return [self.of(str(e), stage) for e in expressions]


class Table:
    """A table of synthetic scores; higher is better."""

    metric = Road()

    def __init__(self, scores: dict, flat: dict | None = None):
        self.scores = scores
        self.images = len(next(iter(scores.values())))
        self.stages = image_blocks(self.images, self.metric)
        self.flat = flat or {}

    def of(self, name, stage):
        stop = self.stages[stage].stop
        flat = min(self.flat.get(name, 0), stop)
        return Score.of(self.metric, self.scores[name][:stop], flat, True)

    def cells(self, name, stage):
        return cells(self.scores[name][: self.stages[stage].stop], self.images)

    def score(self, expressions, stage):
        return [self.of(str(e), stage) for e in expressions]


def hold_race(
    scores: np.ndarray,
    kind: str,
    rule: str = "argmax",
    delta: float = 0.05,
    tolerance: float = 0.0,
    dearest_first: bool = False,
    top: float = 1.0,
    **more,
) -> Race:
    """A race of the rows of ``[C,N]`` scores, run to its end."""
    candidates = FORMULAS[: len(scores)]
    board = Table({str(e): row for e, row in zip(candidates, scores, strict=True)}, **more)
    bounds = np.full((board.images, 1), top)
    test = SequentialTest(delta, tolerance, len(board.stages) - 1, bounds)
    dropping = {
        "race": {OUTPERFORMED: test},
        "bound": {BOUND: Bounds(bounds, -1.0)},
        "none": {},
    }[kind]
    found = Race(board, dropping, rule, lambda _: True)
    if dearest_first:
        candidates = candidates[::-1]
    for start in range(0, len(candidates), 8):
        found.enter(candidates[start : start + 8])
    found.settle()
    return found


def alike(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A leader, its peers, and a rival: they differ by two patterns over the images, more or less
    of each, and by little else."""
    rng = np.random.default_rng(seed)
    image, patterns = rng.normal(0.4, 0.1, 200), rng.normal(0, 0.1, (2, 200))
    peers = image + rng.normal(0, 1, (20, 2)) @ patterns + rng.normal(0, 1e-3, (20, 200))
    rival = image + [0.7, -0.5] @ patterns + rng.normal(0, 1e-3, 200)
    return image, peers, rival


def test_the_mean_of_all_images_is_predicted_from_what_peers_do_on_those_not_seen():
    """The plain mean of 16 differences is ten times as far off."""
    worst = {True: 0.0, False: 0.0}
    for seed in range(20):
        leader, peers, rival = alike(seed)
        gaps = (leader - rival)[:, None]
        for predicted in worst:
            found = predictor(leader, peers if predicted else peers[: PEERS_EACH - 1], 16)
            mean, error = found.estimate(gaps)
            assert abs(mean - gaps.mean()) < 5 * error
            worst[predicted] = max(worst[predicted], abs(mean - gaps.mean()))
    assert worst[True] < 0.1 * worst[False]


def test_estimates_are_those_of_least_squares_with_a_penalty():
    """By hand: fit on the images seen, predict the others, average; at the end all is known.
    Coefficients cost their square over the peers' mean square, residuals theirs alike."""
    leader, peers, rival = alike()
    gaps = leader - rival
    known = Field.of(leader[:, None], peers[..., None])
    design = np.column_stack([np.ones(200), known.variates[:, 0]])
    width = design.shape[1]
    assert width > 2
    theirs, left, *_ = np.linalg.lstsq(design, known.gaps[..., 0].T, rcond=None)
    noise = (left / 200).mean()
    penalty = np.sqrt(noise / (theirs**2).mean(1)) * (np.arange(width) > 0)
    system = np.concatenate([design[:50], np.diag(penalty)])
    weights = np.linalg.lstsq(system, np.r_[gaps[:50], np.zeros(width)], rcond=None)[0]
    filled = np.r_[gaps[:50], design[50:] @ weights]
    mean, error = predictor(leader, peers, 50).estimate(gaps[:, None])
    assert mean == pytest.approx(filled.mean(), abs=1e-12)
    assert error > 0
    mean, error = predictor(leader, peers, 200).estimate(gaps[:, None])
    assert (mean, error) == (pytest.approx(gaps.mean(), abs=1e-12), 0.0)


def in_levels(seed: int, candidates: int = 16, images: int = 60) -> np.ndarray:
    """``[C,N,3]``: cells of one image are alike, two levels more so than the third."""
    rng = np.random.default_rng(seed)
    each = rng.normal(0, 0.05, (candidates, images, 1)) * [1.0, 1.0, 0.2]
    return each + rng.normal(0.1, 0.02, (candidates, images, 3)) + rng.normal(0, 0.1, (images, 1))


def seen_cells(images: int, count: int) -> np.ndarray:
    """``[N,3]`` bool: cells of a race up to a stage."""
    seen = np.zeros((images, 3), bool)
    for block in cell_blocks(images, find_metric("road:percentiles=30+50+70")):
        if block.end <= count:
            np.put_along_axis(seen[block.part], block.which, True, 1)
    return seen


@pytest.mark.parametrize("count", [24, 60, 90, 120])
def test_estimates_of_cells_are_those_of_a_linear_mixed_model(count):
    """By hand, with the covariance of all cells as one matrix: fit on those seen, predict the
    others from the fit and from the residuals of cells of the same image."""
    leader, *peers = in_levels(0)
    gaps, seen = leader - in_levels(1)[0], seen_cells(60, count)
    of_peers = Field.of(leader, np.array(peers))
    found = of_peers.predictor(Sampled.of(seen))
    _, levels, pull = of_peers.learnt
    assert len(pull) == 4
    whole = np.kron(np.eye(60), levels)
    design, known = found.design.reshape(180, -1), seen.ravel()
    inverse = np.linalg.inv(whole[np.ix_(known, known)])
    square = np.linalg.inv(design[known].T @ inverse @ design[known] + np.diag(pull))
    weights = square @ design[known].T @ inverse @ gaps.ravel()[known]
    across = whole[np.ix_(~known, known)] @ inverse
    left = gaps.ravel()[known] - design[known] @ weights
    filled = design[~known] @ weights + across @ left
    mean, error = found.estimate(np.where(seen, gaps, np.nan))
    assert mean == pytest.approx((gaps[seen].sum() + filled.sum()) / 60, abs=1e-12)
    apart = design[~known] - across @ design[known]
    rest = whole[np.ix_(~known, ~known)] - across @ whole[np.ix_(known, ~known)]
    spread = (apart @ square @ apart.T + rest).sum()
    rests = left @ inverse @ left + pull @ weights**2
    variance = (rests + PRIOR) / (found.freedom + PRIOR)
    assert error == pytest.approx(np.sqrt(variance * spread) / 60)


def test_what_peers_exceed_by_chance_is_what_their_estimates_do():
    """All orders at once, against one by one, with the images in their places."""
    leader, *peers = in_levels(2)
    known = Field.of(leader, np.array(peers[:6]))
    sampled = Sampled.of(seen_cells(60, 90))
    found, gaps = known.predictor(sampled), known.gaps - known.gaps.mean((1, 2), keepdims=True)
    orders = np.random.default_rng(3).random((60, 3)).argsort(0)
    figures = found.figures(gaps, orders)
    for order, column in zip(orders.T, figures.T, strict=True):
        place = order.argsort()
        design, levels, pull = known.learnt
        there = Predictor(design[place], levels, pull, sampled)
        for one, figure in zip(gaps, column, strict=True):
            mean, error = there.estimate(one[place])
            assert figure == pytest.approx(mean / error)


def test_of_many_images_the_same_is_said_in_parts(monkeypatch):
    """With room for few numbers at once, and for none in memory."""
    leader, *peers = in_levels(2)
    sampled = Sampled.of(seen_cells(60, 90))
    orders = np.random.default_rng(3).random((60, 20)).argsort(0)
    gaps = np.where(sampled.kinds[sampled.kind], leader - in_levels(4)[0], np.nan)

    def said() -> tuple:
        known = Field.of(leader, np.array(peers))
        chance = known.chance(sampled, 0.2, orders)
        return (*known.predictor(sampled).estimate(gaps), chance, np.abs(known.variates))

    whole = said()
    monkeypatch.setattr(shelf, "AT_ONCE", 200)
    monkeypatch.setattr(shelf, "IN_MEMORY", 0)
    for ours, theirs in zip(said(), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def test_sixteen_images_suffice_where_peers_tell_the_rest_but_not_without_them():
    race = SequentialTest(0.05, 0.0, 4, NO_ROOM)
    leader, peers, rival = alike()
    behind = rival - rival.mean() + leader.mean() - 0.01
    assert drops(race, leader, behind[:16], 5, peers)
    assert not drops(race, leader, behind[:16], 5, NOBODY)
    assert not drops(race, leader, (behind + 0.02)[:16], 5, peers)


def test_what_is_behind_by_less_than_the_tolerance_may_go_what_is_ahead_by_more_may_not():
    race = SequentialTest(0.05, 0.01, 1, NO_ROOM)
    leader, peers, rival = alike()
    level = rival - rival.mean() + leader.mean()
    assert drops(race, leader, level[:16], 1, peers)
    assert drops(race, leader, (level + 0.005)[:16], 1, peers)
    assert not drops(race, leader, (level + 0.015)[:16], 1, peers)


def test_images_that_show_no_difference_are_no_proof_of_none():
    """As under an average drop: 16 images on which the rival equals the leader."""
    rng = np.random.default_rng(0)
    scores = -0.4 * (rng.random((20, 200)) < 0.05)
    leader, peers = scores[0], scores
    assert not drops(SequentialTest(0.05, 1e-3, 1, NO_ROOM), leader, leader[:16], 1, peers)


def skewed(rng: np.random.Generator, candidates: int, images: int) -> np.ndarray:
    """Scores as a metric gives them: images differ, candidates differ little, errors are skewed
    to one side for some candidates and to the other for others."""
    image = rng.normal(0, 0.1, images)
    quality = rng.normal(0, 0.03, (candidates, 1))
    side = rng.choice([-1, 1], (candidates, 1))
    errors = side * (rng.exponential(0.08, (candidates, images)) - 0.08)
    return 0.3 + image + quality + errors


@pytest.mark.slow
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_over_500_races_the_best_is_lost_no_more_often_than_delta_says(delta):
    rng = np.random.default_rng(0)
    lost = spent = 0
    for _ in range(500):
        scores = skewed(rng, candidates=24, images=96)
        found = hold_race(scores, "race", delta=delta)
        best = str(FORMULAS[int(scores.mean(1).argmax())])
        lost += found.leader.name != best
        spent += found.spent
    assert lost <= 500 * delta
    assert spent < 0.9 * 500 * scores.size  # and races it was: passes were saved


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_over_200_races_over_cells_the_best_is_lost_no_more_often_than_delta_says():
    """Cells of one image are alike, and images at one level only are seen before any other."""
    rng = np.random.default_rng(0)
    lost = spent = 0
    for _ in range(200):
        quality = rng.normal(0, 0.03, (24, 1, 1)) / 3
        side = rng.choice([-1, 1], (24, 1, 1))
        errors = [side * (rng.exponential(0.08, (24, 96, n)) - 0.08) for n in (1, 3)]
        scores = 0.1 + quality + (errors[0] + errors[1]) / 3 + rng.normal(0, 0.05, (96, 3))
        board = Cells({str(e): row for e, row in zip(FORMULAS, scores, strict=False)})
        test = SequentialTest(0.05, 0.0, len(board.stages) - 1, np.full((96, 3), np.inf))
        race = Race(board, {OUTPERFORMED: test}, "argmax", lambda _: True)
        for start in range(0, 24, 8):
            race.enter(FORMULAS[start : start + 8])
        lost += race.leader.name != str(FORMULAS[int(scores.sum(2).mean(1).argmax())])
        spent += race.spent
    assert lost <= 10
    assert spent < 0.9 * 200 * 24 * 96 * 3


@pytest.mark.slow
def test_where_a_few_images_decide_the_best_is_not_lost_either():
    """As under an average drop: 0 on most images, much on a few, which most parts of them lack.

    A sign-flip test alone loses the best in nearly half of these races.
    """
    rng = np.random.default_rng(2)
    lost = 0
    for _ in range(100):
        hit = rng.random((24, 128)) < rng.uniform(0.01, 0.05, (24, 1))
        scores = -rng.exponential(0.002, (24, 1)) - 0.4 * hit * rng.random((24, 128))
        found = hold_race(scores, "race")
        best = scores.mean(1).max()
        lost += best - found.leader.mean > 1e-12
    assert lost <= 5


def rare_gains(rng: np.random.Generator, kind: str, images: int) -> np.ndarray:
    """Scores that images seen early say little of: one of twelve gains 1 on 3 % of the images."""
    best, gain = rng.integers(12), 1.0 * (rng.random(images) < 0.03)
    if kind == "all hits":  # zero-inflated: each gains on a share of its own
        return 1.0 * (rng.random((12, images)) < rng.uniform(0.01, 0.05, (12, 1)))
    if kind == "zeros":
        scores = 0.02 * rng.random((12, 1)) * (rng.random((12, images)) < 0.5)
    else:
        scores = 0.3 + rng.normal(0, 0.05, images) + rng.normal(0, 0.02, (12, images))
    scores[best] += gain - 0.01 * (kind == "behind")
    return scores


@pytest.mark.parametrize("images", [64, 128])
@pytest.mark.parametrize("kind", ["all hits", "zeros", "alike", "behind"])
def test_gains_on_a_few_images_are_waited_for(kind, images):
    """Without the metric's bounds the best of 128 "zeros" was lost in a fifth of the races."""
    rng = np.random.default_rng(4)
    lost = 0
    for _ in range(20):
        scores = rare_gains(rng, kind, images)
        found = hold_race(scores, "race", tolerance=1e-3, top=1.5)
        lost += scores.mean(1).max() - found.leader.mean > 1e-3
    assert lost <= 1  # delta is 0.05


@pytest.mark.parametrize("room", [0.5, np.inf])
def test_what_is_behind_stays_while_rare_gains_could_make_up_for_it(room):
    """By hand, for 200 images of which 16 are seen: k others are all missed with probability
    0.92 ** k, so that 44 may be, and gains of 0.5 on them are worth 0.11."""
    rng = np.random.default_rng(0)
    leader = rng.normal(0.5, 0.1, 200)
    peers = leader + rng.normal(0, 0.001, (20, 200))
    peers[0, 0] = leader[0] - 0.5  # the largest difference, which stands for a bound that is none
    race = SequentialTest(0.05, 0.0, 2, leader[:, None] + room)
    assert drops(race, leader, leader[:16] - 0.12, 1, peers)
    assert not drops(race, leader, leader[:16] - 0.10, 1, peers)
    assert not drops(race, leader, leader[:54] - 0.028, 1, peers)
    assert drops(race, leader, leader[:54] - 0.03, 1, peers)
    assert drops(SequentialTest(0.05, 0.0, 1, NO_ROOM), leader, leader[:16] - 0.03, 1, peers)


def test_equal_candidates_are_the_hardest_case_and_one_of_them_wins():
    """All differences have mean 0 in the long run: every drop of the best is an error."""
    rng = np.random.default_rng(1)
    lost = 0
    for _ in range(200):
        scores = 0.3 + rng.exponential(0.1, (12, 64)) * rng.choice([-1, 1], (12, 1))
        scores -= scores.mean(1, keepdims=True) * (1 - 1e-3)
        found = hold_race(scores, "race")
        lost += found.leader.name != str(FORMULAS[int(scores.mean(1).argmax())])
    assert lost <= 10


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from(["argmax", "one-se"]), st.integers(20, 90))
def test_bounds_drop_only_what_cannot_be_chosen(seed, rule, images):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-1, 1, (20, 1)) + rng.normal(0, 0.2, (20, images))
    scores = scores.clip(-1, 1)
    pruned, whole = hold_race(scores, "bound", rule), hold_race(scores, "none", rule)
    assert pruned.choice().name == whole.choice().name
    assert pruned.leader.name == whole.leader.name


def test_bounds_save_work_where_the_leader_is_near_the_top():
    scores = np.concatenate([np.full((1, 128), 0.98), np.zeros((23, 128))])
    found = hold_race(scores, "bound")
    assert found.spent < 0.5 * scores.size


@pytest.mark.slow
def test_settling_brings_back_what_one_standard_error_would_choose():
    """A generous tolerance drops what the rule may prefer: the cheaper near the best."""
    rng = np.random.default_rng(3)
    agreed, spent, back = 0, 0, 0
    for _ in range(40):
        quality = np.r_[np.linspace(0.25, 0.3, 16), np.linspace(0.3, 0.302, 8)][:, None]
        scores = quality + rng.normal(0, 0.02, (24, 128))
        options = {"tolerance": 0.02, "dearest_first": True}
        raced = hold_race(scores, "race", "one-se", **options)
        whole = hold_race(scores, "none", "one-se", dearest_first=True)
        near = scores.mean(1).max() - scores[FORMULAS.index(raced.choice().expression)].mean()
        agreed += raced.choice().name == whole.choice().name or near <= 0.02
        spent += raced.spent
        back += raced.spent > hold_race(scores, "race", "argmax", **options).spent
    assert agreed >= 38  # delta is 0.05
    assert spent < 0.9 * 40 * scores.size
    assert back > 5


def test_what_ranks_nothing_on_too_many_images_is_out_at_once():
    scores = np.full((9, 128), 0.5)
    found = hold_race(scores, "none", flat={str(FORMULAS[8]): 7})
    standing = found.standings[FORMULAS[8]]
    assert (standing.dropped, standing.stage) == ("degenerate", 0)
    assert len(found.finished) == 8


def race_of(candidates, scores):
    """On 64 images, for the highest mean."""
    board = Table({str(e): row for e, row in zip(candidates, scores, strict=True)})
    test = SequentialTest(0.05, 0.0, 2, NO_ROOM[:64])
    return Race(board, {OUTPERFORMED: test}, "argmax", lambda _: True)


def test_a_batch_that_is_interrupted_counts_not_at_all():
    scores = skewed(np.random.default_rng(0), 16, 64)
    candidates = FORMULAS[:16]
    found = race_of(candidates, scores)
    board = found.board
    found.enter(candidates[:8])
    before = (dict(found.standings), list(found.finished), list(found.leaders), found.leader)

    def interrupted(expressions, stage):
        if stage == 2:
            raise KeyboardInterrupt
        return [board.of(str(e), stage) for e in expressions]

    found.board.score = interrupted
    with pytest.raises(KeyboardInterrupt):
        found.enter(candidates[8:])
    assert (found.standings, found.finished, found.leaders, found.leader) == before


def test_what_enters_whole_sees_all_images_whatever_dropped_it_before():
    scores = skewed(np.random.default_rng(0), 16, 64)
    scores[8:] -= 0.3
    candidates = FORMULAS[:16]
    found = race_of(candidates, scores)
    found.enter(candidates[:8])
    found.enter(candidates[8:12])
    behind = [e for e in candidates[8:12] if found.is_open(e)]
    assert behind
    assert not any(found.is_open(e) for e in candidates[:8] if found.standings[e].dropped is None)
    finished = len(found.finished)
    found.enter(candidates[8:], whole=True)
    assert len(found.finished) == finished + len(behind) + 4
    assert all(found.standings[e].dropped is None for e in candidates[8:])
    before = dict(found.standings)
    assert found.enter(candidates[8:], whole=True) == [before[e] for e in candidates[8:]]


def test_stages_are_a_random_part_first_and_all_in_the_end():
    road = find_metric("road")
    assert [s.stop for s in image_blocks(200, road)] == [16, 24, 36, 54, 81, 121, 200]
    assert [s.stop for s in image_blocks(20, road)] == [20]
    assert [s.stop for s in image_blocks(200, find_metric("hci"))] == [200]


@pytest.mark.parametrize("images", [2, 15, 16, 100, 201])
@pytest.mark.parametrize("metric", ["road", "road:percentiles=30+70", "insertion"])
def test_stages_of_cells_see_each_cell_once_and_all_levels_equally_often(images, metric):
    metric = find_metric(metric)
    times, ends = np.zeros((images, metric.levels), int), [0]
    for block in cell_blocks(images, metric):
        one = np.zeros_like(times)
        np.put_along_axis(one[block.part], block.which, 1, 1)
        times += one
        assert block.end - ends[-1] == block.cells == one.sum()
        assert np.ptp(times.sum(0)) <= 4  # of up to 201 images
        ends.append(block.end)
    assert (times == 1).all()


def test_a_metric_without_levels_is_raced_over_images():
    assert cell_blocks(200, find_metric("iou")) == image_blocks(200, find_metric("iou"))
