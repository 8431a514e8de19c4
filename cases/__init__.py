"""Case files, one configuration in each. A package only so that they are found when installed."""
