"""What we use of JAX beside its public interface is there; where it is not, a sentence says so."""

from __future__ import annotations

import pytest

from pause_jax.distributed import jax_private
from pause_jax.errors import UserError


def test_all_of_it_is_in_this_version():
    assert jax_private.coordination_client() is None  # of a process that is alone
    assert len(jax_private.tpu_clusters()) == 2 and jax_private.slurm_cluster().is_env_present() in (True, False)


@pytest.mark.parametrize("module, name", [("jax._src.nothing", "Thing"), ("jax._src.distributed", "Thing")])
def test_a_version_without_it_is_told_of(module, name):
    with pytest.raises(UserError, match=rf"need {module}\.{name}, which jax \d.* does not have: install the version"):
        jax_private._find(module, name)
