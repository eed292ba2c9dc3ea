"""Give published records the digest of the present algorithm, without a run.

    python scripts/restamp.py COMMIT

COMMIT is the last one with the old algorithm. A record is stamped again only when it was fresh there: its digest is the
one that the code of COMMIT computes for the sources of COMMIT. It gets the digest that the present algorithm computes
for those same sources, so that a paper which has changed since is stale, as it should be. A record that was stale stays
as it is."""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLD = "from paper_kit.kit.stages import notebook_digest as d\n"
NEW = ("from paper_kit.kit import reach\nfrom pathlib import Path\nreach._package_folder = lambda: "
       "Path('paper_kit').resolve()\nd = reach.notebook_digest\n")
ALL = ("import json, glob\nprint(json.dumps({f: d(f) for f in sorted(glob.glob('nbs/*/*.ipynb')) if '/kit/' not in f "
       "and 'worlds' not in f}))")


def digests(folder, code, package):
    "{notebook: digest} of the sources in `folder`, by the algorithm of `package`."
    code = f"import sys\nsys.path.insert(0, {str(package)!r})\n{code}{ALL}"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True,
                          env={"OMP_NUM_THREADS": "1"})
    return json.loads(done.stdout.splitlines()[-1])


def main(commit):
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit, "nbs", "paper_kit", "settings.ini"], cwd=ROOT,
                                 capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x"], input=archive, cwd=folder, check=True)
        old, new = digests(folder, OLD, folder), digests(folder, NEW, ROOT)
    sys.path.insert(0, str(ROOT))
    from paper_kit.kit.files import write_atomic
    from paper_kit.kit.paper import harness_version
    for notebook, digest in old.items():
        for file in sorted((ROOT/"data"/"results").glob(f"{Path(notebook).stem}*.json")):
            record = json.loads(file.read_text(encoding="utf-8"))
            if file.name.split(".")[0] != Path(notebook).stem or record["digest"] != digest:
                print(f"{file.name}: left as it is")
                continue
            record |= {"digest": new[notebook], "harness": harness_version}
            write_atomic(file, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
            print(f"{file.name}: {digest[:12]} is now {new[notebook][:12]}")


if __name__ == "__main__":
    main(sys.argv[1])
