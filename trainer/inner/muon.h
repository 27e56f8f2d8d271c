// Muon for the matrices of blocks, AdamW for everything else (embeddings, head, norms, scales), as MuLoCo
// pairs them with DiLoCo (Therien et al. 2025, 2505.23725).
//
// Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the scale of the
// update and the decoupled decay are those of Liu et al. 2025 (Moonlight, 2502.16982, section 2.2), by which
// lr and weight_decay mean what they mean to AdamW. For a matrix theta of [rows, columns] with gradient g:
//   B = momentum * B + g;  U = g + momentum * B                (Nesterov)
//   theta *= 1 - lr * weight_decay                             where the tensor decays
//   theta -= lr * 0.2 * sqrt(max(rows, columns)) * orthogonalised(U)
// All in float32; the original iterates in bfloat16, which few CPUs compute faster.
//
// A matrix of a block: two dimensions, TensorGroup::kMatrix, block >= 0. State: one buffer a matrix, where
// AdamW has two. Cost a step and matrix, n = min(rows, columns), m = max: 10 n n (2 m + n) operations.
#pragma once

#include <ATen/core/Tensor.h>

#include "trainer/inner/inner_optimizer.h"

namespace thinwire::trainer {

// About U V^T of the singular value decomposition matrix = U S V^T, by five quintic Newton-Schulz steps
//   X = a X + b (X X^T) X + c (X X^T)^2 X,   (a, b, c) = (3.4445, -4.7750, 2.0315),
// from X = matrix / |matrix|_F. The coefficients trade exactness for speed: singular values of X from 0.002
// to 1 end in [0.68, 1.21], smaller ones grow 485 times; zeros stay zero. matrix: float32 [rows, columns].
at::Tensor orthogonalised(const at::Tensor& matrix);

// Throws std::invalid_argument if none of the tensors is a matrix of a block.
std::unique_ptr<InnerOptimizer> make_muon(const InnerOptions& options,
                                          const std::vector<TrainedTensor>& trained);

}  // namespace thinwire::trainer
