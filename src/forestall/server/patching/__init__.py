"""Updates and what becomes of them: obligations, policies, deployments, rollouts, and compliance at any date."""
