"""Terms of reports, warnings and answers, a line each: for the command line, the documentation and the page."""

GLOSSARY = {
    "held out, out of fold": (
        "judged on rows that the fit has not seen: a fifth of the regions, a season or a fifth of the rows is left "
        "out, predicted by the rest, and so on until each had its turn"
    ),
    "in sample": "judged on the very rows it was trained on, since none could be held out: an error that is too small",
    "R²": "the share of what separates yields that is explained; 1 is all, 0 no more than their average explains",
    "RMSE, MAE": "the typical error, tons: the root of the mean squared error, and the mean error without its sign",
    "interval": "from low to high: where a harvest lies with the probability asked for, usually 95 %",
    "extrapolated": "the weather asked about lies outside what training has shown: trust the number less",
    "leverage": "how far weather lies from that of the training rows; above the largest there, it is extrapolated",
    "effects": "what a region or a season adds of its own, beyond the weather, as learned from its past",
    "record": "how many yields lay in their intervals when they were reported later; intervals widen where too few did",
    "forecast": "a prediction that was stored before the harvest, to be compared with it once that is reported",
    "lead": "how many days before the harvest a forecast was given",
    "bias": "the mean of what was reported less what had been said, tons; below 0 where that was too high",
    "coverage": "the share of yields that lay in their intervals; what it should be is what these promise",
    "skill": "how much of the squared error of always saying the average yield was avoided, as a share; 0 is none",
    "drift": "the weather asked about lately differs from that of training by more than chance",
    "gate": "the comparison that decides whether a new version may go live, with its reasons",
    "batch": "rows that were stored together; it can be withdrawn from training and restored, as a whole",
    "version": "one trained model, with all that it was trained on; one is live, and any other can be made so",
    "recipe": "how a model is fitted: descent takes all rows at once, to the end; tutorial small batches, roughly",
    "epoch": "one step through all the rows while a model is fitted",
    "loss": "the mean squared error that fitting makes small, tons²",
    "relative gap": "how far the loss is above the smallest possible one, as a share of it; 0 is perfect",
    "moments": "count, means and co-variation of rows: all that fitting needs of them, however many they are",
    "degrees of freedom": "rows less the numbers fitted to them: the fewer, the wider the intervals",
    "standard error": "how far a number may be off by chance alone, as a deviation; beyond 6 of them it is suspicious",
    "condition number": "how nearly the weather columns say the same; above about 30, weights are hard to tell apart",
}
"""Each term, or two that are one, and what it means."""
