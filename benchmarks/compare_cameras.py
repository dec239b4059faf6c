"""Agreement of the cameras of two COLMAP scenes of the same photographs, paired by image name.

python benchmarks/compare_cameras.py <scene> <other scene>
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conversion.alignment import compare_poses
from scene.colmap import read_model
from workspace import SceneFolder, image_key


def main(first: str, second: str) -> None:
    """Print the agreement of two scene folders."""
    models = [read_model(SceneFolder(Path(root)).sparse) for root in (first, second)]
    poses = [{image_key(image.name): image.world_to_camera for image in model.images} for model in models]
    agreement = compare_poses(*poses)
    print(f"cameras    {len(poses[0])} and {len(poses[1])}, {agreement.cameras} in both")
    print(f"centres    mean {agreement.mean_center:.3%}, max {agreement.max_center:.3%} of the radius")
    print(f"rotations  mean {agreement.mean_rotation:.3f}, max {agreement.max_rotation:.3f} degrees")
    print(f"points     {len(models[0].xyz)} and {len(models[1].xyz)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
