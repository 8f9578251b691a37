"""Published and rendered datasets: one package per dataset."""
