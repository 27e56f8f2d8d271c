#include "trainer/outer/outer_plan.h"

#include <algorithm>
#include <memory>

#include "comm/mean.h"
#include "quant/codec/codec.h"
#include "trainer/outer/method.h"
#include "trainer/outer/outer_loop.h"

namespace thinwire::trainer {
namespace {

// How many steps from 1 to `last` end a period.
std::int64_t periods_until(std::int64_t last, std::int64_t offset, std::int64_t period) {
  if (offset == 0) return last / period;
  return last < offset ? 0 : (last - offset) / period + 1;
}

// Of one fragment over the whole run.
std::int64_t commits_of(const Rhythm& rhythm, std::int64_t total_steps, std::int64_t offset) {
  const std::int64_t last = rhythm.sends_at_last_step ? total_steps : total_steps - 1;
  const std::int64_t sent = periods_until(last, offset, rhythm.period);
  const bool sent_at_the_end = rhythm.sends_at_last_step && ends_period(total_steps, offset, rhythm.period);
  return sent + (rhythm.syncs_at_the_end && !sent_at_the_end ? 1 : 0);
}

// While one mean travels: the own payload, and what arrives of the others'.
std::uint64_t in_flight_bytes(comm::Leg leg, int workers, std::uint64_t payload) {
  return payload * static_cast<std::uint64_t>(leg == comm::Leg::kGather ? workers : 2);
}

}  // namespace

OuterPlan plan_outer(const OuterOptions& options, int workers, std::int64_t total_steps,
                     const std::vector<FlatItem>& travelling) {
  const Rhythm rhythm = rhythm_of(options);
  OuterPlan plan;
  if (rhythm.period == 0) return plan;  // nothing is exchanged
  const std::unique_ptr<quant::Codec> codec = make_wire_codec(options);
  const std::unique_ptr<quant::Codec> rest_codec = make_embeddings_codec(options);
  const FlatLayout layout =
      lay_out(travelling, {.layout = rhythm.layout,
                           .block_fragments = options.fragments,
                           .codec_block = static_cast<std::int64_t>(codec->block()),
                           .rest_codec_block = static_cast<std::int64_t>(rest_codec->block())});
  plan.held_bytes = sizeof(float) * layout.flat_size * static_cast<std::uint64_t>(rhythm.flat_buffers);
  for (std::size_t p = 0; p < layout.fragments.size(); ++p) {
    const std::size_t values = layout.fragments[p].size;
    const quant::Codec& own = p == layout.rest_fragment ? *rest_codec : *codec;
    const comm::Leg leg = comm::choose_leg(options.leg, workers, own, values);
    const std::int64_t commits =
        commits_of(rhythm, total_steps, offset_of_fragment(p, layout.fragments.size(), rhythm.period));
    plan.commits += commits;
    plan.wire_bytes +=
        static_cast<std::uint64_t>(commits) * comm::mean_wire_bytes(leg, workers, 0, own, values);
    if (options.error_feedback) plan.held_bytes += sizeof(float) * values;
    plan.in_flight_bytes += in_flight_bytes(leg, workers, own.encoded_bytes(values));
  }
  return plan;
}

}  // namespace thinwire::trainer
