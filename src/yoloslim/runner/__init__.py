"""What runs on a board: one archive of plain Python 3.7 files that need numpy and the chip's own package, nothing
else: Huawei's `acl` or Rockchip's `rknnlite`.

Nothing here imports the rest of the library, so that `bundle.write_runner` can pack the folder as it is. The library
in turn uses these files for whatever both sides must do alike: NV12, VOC files, the three tasks, the ACL session.
Pictures need OpenCV or Pillow; evaluation over SSH, which is sent ready-made pixels, needs neither.
"""
