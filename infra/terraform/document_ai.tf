# Recognises what has no text layer. The functions name one of its versions; see DOCUMENTAI_PROCESSOR.

resource "google_document_ai_processor" "ocr" {
  location     = var.document_ai.location
  display_name = "drivestream"
  type         = "OCR_PROCESSOR"

  depends_on = [google_project_service.this]
}
