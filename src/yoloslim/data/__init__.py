"""Images and boxes: VOC layout on disk, archives, the generated data set, batches, augmentation."""
