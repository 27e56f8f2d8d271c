// The LLaMA forward pass by its formulas: one token at a time in double, no LibTorch operation but reading
// weights.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <complex>
#include <map>
#include <string>
#include <vector>

#include "trainer/model/language_model.h"

namespace thinwire::test {

class SlowLlama {
 public:
  explicit SlowLlama(trainer::LanguageModel& model) : options_(model.options()) {
    for (const auto& item : model.named_parameters()) weights_[item.key()] = item.value().detach().clone();
  }

  // Logits of every position: [T][vocab].
  std::vector<std::vector<double>> logits(const std::vector<std::int64_t>& tokens) const {
    std::vector<std::vector<double>> x;
    for (const std::int64_t token : tokens) x.push_back(row("embedding.weight", token));
    for (std::int64_t n = 0; n < options_.layers; ++n) add_block("blocks." + std::to_string(n) + ".", x);
    const std::string head = options_.tied ? "embedding.weight" : "head.weight";
    for (auto& token : x) token = product(head, norm("norm.weight", token));
    return x;
  }

 private:
  using Vector = std::vector<double>;

  Vector row(const std::string& name, std::int64_t index) const {
    const float* values = weights_.at(name)[index].data_ptr<float>();
    return {values, values + options_.width};
  }

  Vector product(const std::string& name, const Vector& x) const {
    const at::Tensor& weight = weights_.at(name);
    Vector y(static_cast<std::size_t>(weight.size(0)));
    const float* w = weight.data_ptr<float>();
    for (double& value : y) {
      for (const double input : x) value += *w++ * input;
    }
    return y;
  }

  Vector norm(const std::string& name, Vector x) const {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + 1e-5);
    const float* weight = weights_.at(name).data_ptr<float>();
    for (double& value : x) value *= scale * *weight++;
    return x;
  }

  // Every head's pairs (2i, 2i+1) turn by position * 10000^(-2i/D).
  void rotate(Vector& x, std::size_t position) const {
    const auto d = static_cast<std::size_t>(options_.width / options_.heads);
    for (std::size_t i = 0; i < x.size(); i += 2) {
      const double frequency = std::pow(10000.0, -static_cast<double>(i % d) / static_cast<double>(d));
      const auto turned =
          std::complex(x[i], x[i + 1]) * std::polar(1.0, static_cast<double>(position) * frequency);
      x[i] = turned.real();
      x[i + 1] = turned.imag();
    }
  }

  // softmax(q k / sqrt(D)) v over the positions up to q's, head by head.
  Vector attend(const Vector& q, const std::vector<Vector>& k, const std::vector<Vector>& v) const {
    const auto d = static_cast<std::size_t>(options_.width / options_.heads);
    const auto sharing = static_cast<std::size_t>(options_.heads / options_.kv_heads);
    Vector mixed(q.size());
    for (std::size_t head = 0; head < q.size() / d; ++head) {
      const std::size_t source = head / sharing * d;
      double total = 0;
      for (std::size_t t = 0; t < k.size(); ++t) {
        double score = 0;
        for (std::size_t i = 0; i < d; ++i) score += q[head * d + i] * k[t][source + i];
        const double weight = std::exp(score / std::sqrt(static_cast<double>(d)));
        total += weight;
        for (std::size_t i = 0; i < d; ++i) mixed[head * d + i] += weight * v[t][source + i];
      }
      for (std::size_t i = 0; i < d; ++i) mixed[head * d + i] /= total;
    }
    return mixed;
  }

  void add_block(const std::string& path, std::vector<Vector>& x) const {
    std::vector<Vector> keys, values;
    for (std::size_t t = 0; t < x.size(); ++t) {
      const Vector in = norm(path + "attention_norm.weight", x[t]);
      Vector query = product(path + "attention.q.weight", in);
      keys.push_back(product(path + "attention.k.weight", in));
      values.push_back(product(path + "attention.v.weight", in));
      rotate(query, t);
      rotate(keys.back(), t);
      add(x[t], product(path + "attention.o.weight", attend(query, keys, values)));
    }
    for (Vector& token : x) {
      const Vector in = norm(path + "mlp_norm.weight", token);
      Vector gate = product(path + "mlp.gate.weight", in);
      const Vector up = product(path + "mlp.up.weight", in);
      for (std::size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
      add(token, product(path + "mlp.down.weight", gate));
    }
  }

  static void add(Vector& x, const Vector& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  trainer::ModelOptions options_;
  std::map<std::string, at::Tensor> weights_;
};

}  // namespace thinwire::test
