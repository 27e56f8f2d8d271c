// The scale of a block, found by the 16 lanes of a team.
//
// Lane j takes the values j, j + 16, j + 32, ... and the lanes are joined 8, 4, 2 and 1 apart: the order of
// the sums that docs/wire_format.md fixes, so half a warp needs no other. A Team has
//
//   LaneSums reduce(per_lane)      // per_lane(j): the sums of lane j; returns the joined ones, on every lane
//   void each(count, call)         // call(i) for every i < count, once over all lanes
//
// SerialTeam runs the lanes one after another on the host, for tests; kernels.cu has the half warp.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

#include "quant/codec/block_scale.h"
#include "quant/codec/host_device.h"

namespace thinwire::quant::cuda {

inline constexpr unsigned kLanes = kSumLanes;

struct LaneSums {
  float total = 0;
  float largest = 0;
  unsigned num_high = 0;
};

THINWIRE_HOST_DEVICE inline LaneSums join(const LaneSums& a, const LaneSums& b) {
  return {a.total + b.total, a.largest > b.largest ? a.largest : b.largest, a.num_high + b.num_high};
}

struct SerialTeam {
  template <class PerLane>
  LaneSums reduce(PerLane per_lane) const {
    std::array<LaneSums, kLanes> lanes;
    for (unsigned j = 0; j < kLanes; ++j) lanes[j] = per_lane(j);
    for (unsigned apart = kLanes / 2; apart > 0; apart /= 2) {
      for (unsigned j = 0; j < apart; ++j) lanes[j] = join(lanes[j], lanes[j + apart]);
    }
    return lanes[0];
  }
  template <class Call>
  void each(std::size_t count, Call call) const {
    for (std::size_t i = 0; i < count; ++i) call(i);
  }
};

// num_values values of one block; value(i) gives value i, any number of times.
template <class Team, class Source>
struct TeamBlock {
  Team team;
  Source value;
  std::size_t num_values;

  // Over all values: the largest magnitude, and what count(sums, magnitude) adds up.
  template <class Count>
  THINWIRE_HOST_DEVICE LaneSums sums(Count count) const {
    return team.reduce([&](unsigned lane) {
      LaneSums sums;
      for (std::size_t i = lane; i < num_values; i += kLanes) {
        const float a = limited(std::fabs(value(i)));
        sums.largest = a > sums.largest ? a : sums.largest;
        count(sums, a);
      }
      return sums;
    });
  }
};

// The scales of block_scale.h, to the bit.

template <class Team, class Source>
THINWIRE_HOST_DEVICE float exact_range_scale(const TeamBlock<Team, Source>& block, float top) {
  return exact_range_scale_of(block.sums([](LaneSums&, float) {}).largest, top);
}

template <class Team, class Source>
THINWIRE_HOST_DEVICE float range_scale(const TeamBlock<Team, Source>& block, float top) {
  return range_scale_of(block.sums([](LaneSums&, float) {}).largest, top);
}

template <class Team, class Source>
THINWIRE_HOST_DEVICE float least_squares_scale(const TeamBlock<Team, Source>& block,
                                               const TwoLevels& levels) {
  const LaneSums all = block.sums([](LaneSums& sums, float a) { sums.total += a; });
  const float split = levels.split * (all.total / static_cast<float>(block.num_values));
  const LaneSums weighted = block.sums([&](LaneSums& sums, float a) {
    sums.num_high += a > split;
    sums.total += (a > split ? levels.high : levels.low) * a;
  });
  return least_squares_scale_of({.num_values = block.num_values,
                                 .num_high = weighted.num_high,
                                 .weighted = weighted.total,
                                 .largest = all.largest},
                                levels);
}

}  // namespace thinwire::quant::cuda
