// A module of your own, trained by several workers: a small convolutional net on Fashion-MNIST (Debian
// package dataset-fashion-mnist), built outside thinwire's tree against the installed library.
//
//   cmake --install build/release --prefix "$HOME/thinwire"
//   cmake -S examples -B build/own_model -DCMAKE_PREFIX_PATH="$HOME/thinwire" -DTorch_DIR=...
//   cmake --build build/own_model
//   "$HOME/thinwire/bin/thinwire" launch -n 4 --link 20mbit/40ms -- build/own_model/own_model 300
//
// Expected output: a line from each worker, all with one digest, and the accuracy on the test images:
//
//   worker 2 of 4: sent 0.43 MB, digest 36c3ae0cd75640bc26e4b3df30e4e55f      (and so on, in any order)
//   accuracy 0.785 after 300 steps
#include <torch/torch.h>
#include <zlib.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "launch/session.h"
#include "trainer/outer/outer_loop.h"

namespace trainer = thinwire::trainer;

namespace {

struct Net : torch::nn::Module {
  torch::nn::Conv2d conv1{torch::nn::Conv2dOptions(1, 16, 5).stride(2)};
  torch::nn::Conv2d conv2{torch::nn::Conv2dOptions(16, 32, 5).stride(2)};
  torch::nn::Linear head{512, 10};

  Net() {
    register_module("conv1", conv1);
    register_module("conv2", conv2);
    register_module("head", head);
  }
  torch::Tensor forward(const torch::Tensor& images) {
    return head(torch::relu(conv2(torch::relu(conv1(images)))).flatten(1));
  }
};

struct Images {
  torch::Tensor pixels;  // float32 [n, 1, 28, 28] in 0..1
  torch::Tensor labels;  // int64 [n]
};

// The bytes of a gzipped IDX file after its header of `header_bytes`.
torch::Tensor read_idx(const std::string& name, int header_bytes, std::int64_t num_bytes) {
  const std::string path = "/usr/share/datasets/fashion-mnist/" + name + "-ubyte.gz";
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  auto bytes = torch::empty(num_bytes, torch::kUInt8);
  if (!file || gzseek(file.get(), header_bytes, SEEK_SET) != header_bytes ||
      gzread(file.get(), bytes.data_ptr(), static_cast<unsigned>(num_bytes)) != num_bytes) {
    throw std::runtime_error("cannot read " + path + ": is the package dataset-fashion-mnist installed?");
  }
  return bytes;
}

Images read_images(const std::string& set, std::int64_t n) {
  return {read_idx(set + "-images-idx3", 16, n * 784).view({n, 1, 28, 28}).to(torch::kFloat32) / 255,
          read_idx(set + "-labels-idx1", 8, n).to(torch::kInt64)};
}

// What trains and travels. Each convolution is a block, so it may be a fragment of its own; the head goes
// with "embeddings, head and final norm".
std::vector<trainer::TrainedTensor> travelling(Net& net) {
  std::vector<trainer::TrainedTensor> tensors;
  for (const auto& item : net.named_parameters()) {
    const bool matrix = item.value().dim() > 1;
    tensors.push_back({.name = item.key(),
                       .tensor = item.value(),
                       .group = matrix ? trainer::TensorGroup::kMatrix : trainer::TensorGroup::kVector,
                       .block = item.key().starts_with("conv1")   ? 0
                                : item.key().starts_with("conv2") ? 1
                                                                  : -1});
  }
  return tensors;
}

double accuracy(Net& net, const Images& images) {
  const torch::NoGradGuard no_grad;
  return net.forward(images.pixels).argmax(1).eq(images.labels).to(torch::kFloat64).mean().item<double>();
}

// Each worker learns from its own part of the images.
void train(Net& net, trainer::OuterLoop& loop, const Images& images, int rank, int size, std::int64_t steps) {
  torch::optim::Adam optimizer(net.parameters(), 1e-3);
  auto random = at::make_generator<at::CPUGeneratorImpl>(1000 + rank);
  const std::int64_t own = images.labels.size(0) / size;
  for (std::int64_t step = 1; step <= steps; ++step) {
    const auto batch = torch::randint(own, {32}, random, torch::kInt64) * size + rank;
    optimizer.zero_grad();
    const auto loss = torch::nn::functional::cross_entropy(net.forward(images.pixels.index_select(0, batch)),
                                                           images.labels.index_select(0, batch));
    loss.backward();
    loop.reduce_gradients(step);
    optimizer.step();
    loop.after_step(step);
  }
  loop.finish(steps);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::int64_t steps = argc > 1 ? std::atoll(argv[1]) : 300;
  auto session = thinwire::launch::Session::from_environment();
  torch::manual_seed(1);  // all workers start from the same parameters
  Net net;
  const auto loop = trainer::make_outer_loop({.options = {.sync_every = 20, .fragments = 2},
                                              .seed = 1,
                                              .total_steps = steps,
                                              .engine = &session.engine()},
                                             travelling(net));
  train(net, *loop, read_images("train", 60000), session.rank(), session.size(), steps);
  std::printf("worker %d of %d: sent %.2f MB, digest %s\n", session.rank(), session.size(),
              static_cast<double>(session.engine().sent().wire) / 1e6, loop->digest().c_str());
  if (session.rank() == 0)
    std::printf("accuracy %.3f after %ld steps\n", accuracy(net, read_images("t10k", 10000)), steps);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "own_model: %s\n", error.what());
  return 1;
}
