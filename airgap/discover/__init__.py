"""Finds the images that deployment files of other tools would run.

findings      `FoundImage`, `Problem`, and the collector that readers add them to
context       what each reader gets: sources, findings, and what the person asked for
sources       the files that may be read: below the given folders, bounded, regular
kubernetes    objects: pods, custom_values (fields of custom resources), operands (arguments, variables, ConfigMaps)
kustomize     kustomizations: kustomize_patches, kustomize_images, kustomize_targets, kustomize_parts
charts        Helm charts: helm_program renders them, chart_values reads them without Helm
image_text    which texts are names of images; image_groups puts together names in parts
"""
