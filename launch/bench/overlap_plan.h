// How long a fragment may be under way: the arithmetic of `thinwire bench overlap`, apart from the runs that
// feed it.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/link.h"

namespace thinwire::launch {

// What one worker sends and how fast it trains, as measured on an unlimited link.
struct OverlapLoad {
  std::vector<std::uint64_t> fragment_bytes;  // sent by one worker for each fragment, headers included
  std::int64_t sync_every = 1;                // H
  double step_seconds = 0;
  double coding_seconds = 0;  // of a commit beside its time on the link: encode, wait for the others, decode
};

struct OverlapPlan {
  std::int64_t tau = 1;
  bool fits = false;  // every fragment arrives within tau steps, and tau is at most H
};

// The step at which fragment p of `count` is sent first, as the outer loop staggers them.
std::int64_t first_send(std::size_t p, std::size_t count, std::int64_t sync_every);

// The smallest tau within which every fragment arrives: bytes / rate + round trip + coding, and the time that
// it waits behind fragments sent before it. H, and fits = false, where there is none up to H.
OverlapPlan plan_overlap(const OverlapLoad& load, const comm::LinkSpec& link);

// Mbit/s that the link must carry if nothing is to wait: payload of a period / (H * step time).
double floor_mbit(const OverlapLoad& load);

// The length of a run of at least two periods at whose end nothing is in flight, if there is one below three
// periods: what is in flight at the end is waited for, and would count as idle.
std::int64_t run_steps(std::size_t fragments, std::int64_t sync_every, std::int64_t tau);

}  // namespace thinwire::launch
