"""The platform: accounts, rentals and their money, on a Kubernetes cluster, behind REST and SSH.

Services (`accounts`, `tokens`, `catalog`, `rentals`, `metering`, `reconcile`) hold the policy;
`rest` and `cli` show it; `daemon` is the only place where everything is wired.
"""
