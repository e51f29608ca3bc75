"""Searches over swaps: the best network under a budget.

`space`: what the cells of a study are combinations of. `surrogate`: main effects and interactions fitted to validation
scores. `costs`: what each combination costs. `select`: the best predicted combinations within budgets. `choose`: these
together, with the training of a few and the choice among what was trained.
"""
