import { useId, useLayoutEffect, useRef, useState } from "react";

import { draftOf, readDraft, type Draft } from "./draft";

interface ArgsDialogProps {
  title: string;
  args: Record<string, unknown>;
  /** An answer is awaited. */
  asked: boolean;
  /** Why the server did not take it. */
  refused: string;
  onConfirm: (args: Record<string, unknown>) => void;
  onClose: () => void;
}

/** What is to be done, to be changed before it is allowed. */
export function ArgsDialog({ title, args, asked, refused, onConfirm, onClose }: ArgsDialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [fields, setFields] = useState(() => Object.entries(args).map(draftOf));
  const [wrong, setWrong] = useState<Record<string, string>>({});
  const id = useId();

  // Before the element goes: the platform keeps the focus inside, and gives it back at the close.
  useLayoutEffect(() => {
    const shown = dialog.current;
    if (shown && !shown.open) shown.showModal();
    return () => shown?.close();
  }, []);

  const confirm = () => {
    const { args: changed, wrong: found } = readDraft(fields);
    setWrong(found);
    if (Object.keys(found).length === 0) onConfirm(changed);
  };
  const change = (name: string, value: string | boolean) =>
    setFields((all) => all.map((one) => (one.name === name ? { ...one, value } : one)));

  return (
    <dialog
      ref={dialog}
      className="bargein-dialog"
      aria-labelledby={`${id}title`}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onKeyDown={(event) => {
        // Escape closes the dialog here; the answer behind it goes on.
        if (event.key === "Escape") event.stopPropagation();
      }}
    >
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          confirm();
        }}
      >
        <h2 id={`${id}title`}>{title}</h2>
        {fields.map((field) => (
          <Field
            key={field.name}
            id={`${id}${field.name}`}
            field={field}
            wrong={wrong[field.name]}
            onChange={(value) => change(field.name, value)}
          />
        ))}
        {refused && (
          <p className="bargein-refused" role="alert">
            {refused}
          </p>
        )}
        <div className="bargein-buttons">
          <button type="submit" className="bargein-yes" disabled={asked}>
            Confirm this
          </button>
          <button type="button" onClick={onClose}>
            Back
          </button>
        </div>
      </form>
    </dialog>
  );
}

interface FieldProps {
  id: string;
  field: Draft;
  wrong: string | undefined;
  onChange: (value: string | boolean) => void;
}

function Field({ id, field, wrong, onChange }: FieldProps) {
  const { name, kind, value } = field;
  const shared = {
    id,
    "aria-invalid": wrong !== undefined,
    "aria-describedby": wrong === undefined ? undefined : `${id}wrong`,
  };
  return (
    <div className="bargein-field" data-kind={kind}>
      <label htmlFor={id}>{name.replaceAll("_", " ")}</label>
      {kind === "boolean" ? (
        <input
          {...shared}
          type="checkbox"
          checked={value === true}
          onChange={(event) => onChange(event.target.checked)}
        />
      ) : kind === "json" || kind === "text" ? (
        <textarea
          {...shared}
          rows={4}
          spellCheck={kind === "text"}
          value={String(value)}
          onChange={(event) => onChange(event.target.value)}
        />
      ) : (
        <input
          {...shared}
          type={kind === "secret" ? "password" : "text"}
          inputMode={kind === "number" ? "decimal" : "text"}
          autoComplete="off"
          value={String(value)}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
      {wrong !== undefined && (
        <p id={`${id}wrong`} className="bargein-refused">
          {wrong}
        </p>
      )}
    </div>
  );
}
