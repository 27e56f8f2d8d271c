#include "trainer/outer/data_parallel.h"

#include <utility>

#include "trainer/outer/digest.h"

namespace thinwire::trainer {

DataParallel::DataParallel(const OuterContext& context, std::vector<TrainedTensor> travelling)
    : context_(context),
      codec_(make_wire_codec(context.options)),
      parameters_(std::move(travelling), {.layout = FragmentLayout::kWhole,
                                          .codec_block = static_cast<std::int64_t>(codec_->block())}),
      gradient_(parameters_.flat_size()),
      exchange_(context_, codec_, 0, gradient_.size(),
                [this](std::size_t offset) { return "gradient of " + parameters_.describe(0, offset); }),
      theta_digest_(digest()) {}

void DataParallel::reduce_gradients(std::int64_t step) {
  const BusyTimer timer(busy_seconds_);
  parameters_.copy_gradients_to(gradient_);
  pending_ = exchange_.reduce(step, gradient_, short_digest_of({theta_digest_}));
  parameters_.set_gradients_from(gradient_);
}

void DataParallel::after_step(std::int64_t step) {
  const BusyTimer timer(busy_seconds_);
  if (!pending_) return;
  theta_digest_ = digest();
  pending_->step = step;
  pending_->digest = theta_digest_;
  commits_.push_back(*std::exchange(pending_, std::nullopt));
}

NamedViews DataParallel::agreed() {
  return parameters_.live_views();
}

std::string DataParallel::digest() const {
  return digest_of({parameters_.values()});
}

State DataParallel::state() const {
  return exchange_.state();
}

void DataParallel::load(const State& state) {
  exchange_.load(state);
  theta_digest_ = digest();
}

}  // namespace thinwire::trainer
