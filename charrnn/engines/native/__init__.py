"""The compiled core: `lib` is its C API, `inference` scores and samples, `training` and `optimizer` train."""
