"""Floor 4: recipe, execution plan, stages, Lightning module, run folder."""
