"""Plain genetic programming: tournaments, crossover of subtrees, mutation by a random subtree.

After Koza (Genetic Programming, 1992) with Montana's typed trees (1995): a subtree is only
replaced by one that the grammar allows in its place. The published searches for CAMs do this; here
it is what others are compared with.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from sycam.grammar.sampling import TreeSampler
from sycam.language import Expression
from sycam.search.proposals.derivations import Derivations
from sycam.search.proposals.elite import Entry
from sycam.search.proposals.learnt_grammar import LearntGrammar
from sycam.search.proposals.proposer import Proposal

POPULATION = 50
_TOURNAMENT = 3
_CROSSOVER = 0.8
_TRIES = 50

RANDOM, CROSSED, MUTATED = "random", "crossover", "mutation"


class GeneticProgramming:
    """Steady-state genetic programming.

    Args:
        derivations: of the space.
        seed: of the drawing.
    """

    def __init__(self, derivations: Derivations, seed: int):
        self.derivations = derivations
        self._random = random.Random(seed)
        self._uniform = TreeSampler(derivations.grammar, derivations.max_cost)
        costs = range(1, derivations.max_cost + 1)
        self._costs = [c for c in costs if self._uniform.count(c)]
        self._grow = LearntGrammar(derivations)
        self._population: list[Entry] = []
        self._offered: set[Expression] = set()

    def learn(self, entry: Entry) -> None:
        """Let an expression into the population, in the place of the loser of a tournament."""
        self._offered.add(entry.expression)
        if entry.complete and self.derivations.holds(entry.expression):
            self._population.append(entry)
            if len(self._population) > POPULATION:
                loser = min(self._entrants(), key=self._judge())
                del self._population[loser]

    def propose(self) -> Proposal | None:
        """The next proposal, never one made before; None when none was found."""
        for attempt in range(20 * _TRIES):
            proposal = self._made() if attempt < _TRIES else self._fresh()
            if proposal.expression not in self._offered:
                self._offered.add(proposal.expression)
                return proposal
        return None

    def _made(self) -> Proposal:
        if len(self._population) < POPULATION:
            return self._fresh()
        d, parent = self.derivations, self._winner()
        position = self._random.choice(d.positions(parent))
        budget = d.max_cost - parent.cost + position.expression.cost
        if self._random.random() < _CROSSOVER:
            other = [
                s.expression for s in d.positions(self._winner()) if s.expression.cost <= budget
            ]
            fitting = [e for e in other if d.holds(e, position.symbol)]
            if not fitting:
                return self._fresh()
            new, kind = self._random.choice(fitting), CROSSED
        else:
            new, kind = self._grow.draw(self._random, position.symbol, budget), MUTATED
        return Proposal(d.replaced(parent, position.path, new), kind)

    def _fresh(self) -> Proposal:
        cost = self._random.choice(self._costs)
        return Proposal(self._uniform.draw(cost, self._random), RANDOM)

    def _winner(self) -> Expression:
        return self._population[max(self._entrants(), key=self._judge())].expression

    def _judge(self) -> Callable[[int], float]:
        """How a tournament is judged: by one of the goals, another each time."""
        goals = len(self._population[0].values)
        goal = self._random.randrange(goals) if goals > 1 else 0
        return lambda i: self._population[i].values[goal]

    def _entrants(self) -> list[int]:
        return self._random.sample(range(len(self._population)), _TOURNAMENT)
