"""How are raw downloads turned into prepared datasets? Run offline by `svilm prepare`, never imported by training."""
