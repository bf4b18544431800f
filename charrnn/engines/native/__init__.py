"""The compiled core: `lib` is its C interface, `inference` scores and samples, `training` and `optimizer` train."""
