"""Files that run a training on a cluster: SkyPilot tasks, Kubernetes JobSets and sbatch scripts."""
