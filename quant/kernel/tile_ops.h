// What the fused outer passes (quant/codec/outer_pass.h) do with one tile beside coding it: the arithmetic of
// quant/kernel/outer_ops.h, several of its steps in one sweep, with the same bits.
#pragma once

#include <cstddef>

#include "quant/kernel/outer_ops.h"
#include "quant/kernel/target.h"

namespace thinwire::quant {

struct UpdateRule {
  NesterovRule nesterov;
  float contributors = 1;
  float alpha = 0;
};

// Sums of squares and products of a tile's own contribution and mean.
struct TileSums {
  double own_square = 0;
  double mean_square = 0;
  double product = 0;

  TileSums& operator+=(const TileSums& more) {
    own_square += more.own_square;
    mean_square += more.mean_square;
    product += more.product;
    return *this;
  }
};

struct TileOps {
  // value = agreed - local, then + decay * residual; residual may be null. Whether a value is NaN.
  bool (*take_delta)(const float* agreed, const float* local, const float* residual, float decay,
                     float* value, std::size_t n);
  // residual = value - residual, which holds what was decoded.
  void (*keep_rest)(const float* value, float* residual, std::size_t n);
  // mean = mean / contributors, which holds the sum; then nesterov_step and merge_into_local.
  void (*update)(const UpdateRule& rule, float* mean, float* momentum, float* agreed, float* local,
                 std::size_t n);
  void (*add_measures)(const float* own, const float* mean, std::size_t n, TileSums& sums);
};

TileOps tile_ops(Target target);

}  // namespace thinwire::quant
