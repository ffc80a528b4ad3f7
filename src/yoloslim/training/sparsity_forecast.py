"""Before sparse training, what the penalty can reach: a callback, since only the training knows its number of steps."""

import logging

from yoloslim.config import SparseParams
from yoloslim.pruning.forecast import forecast, travel
from yoloslim.training.callback import Callback, State
from yoloslim.training.optim import learning_rates
from yoloslim.training.sparsity import SparsityPenalty, decayed

logger = logging.getLogger(__name__)


class SparsityForecast(Callback):
    """Logs the forecast of a penalty at the start, before hours are spent on finding out."""

    def __init__(self, penalty: SparsityPenalty, phase: SparseParams, schedule: str, percent: int) -> None:
        """Take a penalty, the section `sparse`, the learning rate's schedule and the percent that is asked for."""
        self.penalty, self.phase, self.schedule, self.percent = penalty, phase, schedule, percent

    def start(self, state: State) -> None:
        """See Callback."""
        p = self.phase
        lrs = list(learning_rates(p, state.steps, self.schedule))
        rates = [decayed(p.rate, i // state.steps, p.epochs) for i in range(len(lrs))]
        momentum, optimizer = self.penalty.momentum, p.optimizer.lower()
        distance = travel(lrs, rates, optimizer=optimizer, mode=p.mode, momentum=momentum)  # type: ignore[arg-type]
        logger.info("forecast: %s", forecast(self.penalty.before.numpy(), distance, p.rate, self.percent).text)
