"""From targets to points reached: start points, the solver, and feasible points."""
