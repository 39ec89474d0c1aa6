"""How a layer's integer arithmetic is computed: several engines, one result. `plan.plan` chooses."""
