"""From sources and a configuration to a finished run.

Read `session`, then `trainer` (the loop) and `learner` (the step). `plan`, `autoconfig` and `throughput` decide
what the user left open; `schedule` and `replanning` keep the time; `evaluation` and `temperature` judge the model.
"""
