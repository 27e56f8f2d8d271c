// What the outer methods that stream fragments have in common: the agreed copy G with its momentum V, the
// fragments with their offsets in the period, one exchange and one digest for each. A method adds when it
// sends and commits, and what becomes of the live parameters.
#pragma once

#include <memory>
#include <vector>

#include "trainer/outer/fragment_exchange.h"
#include "trainer/outer/outer_loop.h"

namespace thinwire::trainer {

class StreamedLoop : public OuterLoop {
 public:
  void with_agreed(const std::function<void()>& body) final;
  NamedViews agreed() final;
  std::string digest() const final;
  State state() const override;
  void load(const State& state) override;

 protected:
  struct Fragment {
    FlatRange range;
    std::int64_t offset_step = 0;  // t_p
    std::unique_ptr<FragmentExchange> exchange;
    std::string digest;  // of (G, V)
  };

  // G starts as the live parameters, V as zeros. Throws std::invalid_argument for a setting that does not fit
  // the tensors.
  StreamedLoop(const OuterContext& context, std::vector<TrainedTensor> travelling, FragmentLayout layout);

  const OuterOptions& options() const { return context_.options; }
  std::int64_t total_steps() const { return context_.total_steps; }
  int workers() const { return context_.engine->size(); }
  std::vector<Fragment>& fragments() { return fragments_; }

  // Whether a period of the fragment ends with this step.
  bool is_due(const Fragment& fragment, std::int64_t step) const;
  // Whether a fragment's last send was before this, the last step.
  bool has_drifted(const Fragment& fragment, std::int64_t step) const;
  // Sends the drift from `start`, of the fragment's size: start - live.
  void send(Fragment& fragment, std::int64_t step, std::span<const float> start);
  // Waits for the mean of what was sent, takes the outer step on (G, V) with it, merges the new G into the
  // local parameters if there are any given, and records the commit.
  void commit(Fragment& fragment, std::int64_t step, std::span<float> local = {}, float alpha = 0);

  // A zero buffer of the layout of all parameters, and a fragment's part of one.
  at::Tensor make_flat() const;
  static std::span<float> part_of(const at::Tensor& flat, const Fragment& fragment);
  std::span<float> agreed_of(const Fragment& fragment) const { return part_of(agreed_, fragment); }
  std::span<float> live_of(const Fragment& fragment);

  // Padding has no tensor that a checkpoint would bring back: a method that lets it drift says from where it
  // comes.
  void copy_padding_to_live(const at::Tensor& flat);
  const at::Tensor& agreed_copy() const { return agreed_; }

 private:
  std::string digest_of_fragment(const Fragment& fragment) const;
  std::uint64_t state_digest() const;

  const OuterContext context_;
  // Of the fragments of blocks and of the rest; shared with what is in flight.
  std::shared_ptr<const quant::Codec> codec_, rest_codec_;
  FlatParameters parameters_;
  at::Tensor agreed_;    // G, float32, the layout of parameters_
  at::Tensor momentum_;  // V
  std::vector<Fragment> fragments_;
};

}  // namespace thinwire::trainer
