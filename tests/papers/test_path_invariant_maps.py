"""What the notebook of path_invariant_maps cannot hold: hand-computed checks, predicates that must fail, bad inputs."""
from paper_kit.kit.files import project_root
from paper_kit.kit.paper import load_manifest
from paper_kit.geometry.path_invariant_maps import predicates, stages


def test_the_manifest_is_valid_and_every_predicate_belongs_to_a_claim():
    manifest = load_manifest(project_root()/"data"/"papers"/"path_invariant_maps.yaml")
    assert set(predicates) <= {claim["id"] for claim in manifest["claims"]}
    delivered = set(manifest.expected("claims"))
    assert delivered <= set(predicates), f"claims without a predicate: {delivered - set(predicates)}"


def test_the_stages_can_be_called_without_a_notebook():
    assert callable(stages)
